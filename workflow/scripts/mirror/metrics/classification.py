"""Metrics of subtyping and retrieval for many weightings of the patients at once.

Every function takes weights ``w`` of shape (R, n), one row a bootstrap resample (the number
of times each patient was drawn), and returns R values. A row of ones gives the plain metric,
so that the reported value and its interval come from the same code; both are linear in R * n.
A value that is not defined for a resample (a class drawn by nobody) is NaN there.
"""

from __future__ import annotations

import numpy as np

ECE_BINS = 10


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b > 0)


def _tie_ends(sorted_scores: np.ndarray) -> np.ndarray:
    """Last position of each run of equal scores."""
    return np.flatnonzero(np.r_[sorted_scores[1:] != sorted_scores[:-1], True])


def auroc(positive: np.ndarray, score: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Area under the ROC curve; ties count one half.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    score : ndarray of float, shape (n,)
    w : ndarray of float, shape (R, n)

    Returns
    -------
    ndarray of float64, shape (R,)
    """
    order = np.argsort(score, kind="stable")
    ends = _tie_ends(score[order])
    sorted_w = w[:, order]
    pos = np.cumsum(sorted_w * positive[order], axis=1)[:, ends]
    neg = np.cumsum(sorted_w * ~positive[order], axis=1)[:, ends]
    pos_step = np.diff(pos, axis=1, prepend=0)
    neg_before = np.c_[np.zeros(len(w)), neg[:, :-1]]
    won = (pos_step * (neg_before + neg) * 0.5).sum(axis=1)
    return _ratio(won, pos[:, -1] * neg[:, -1])


def average_precision(positive: np.ndarray, score: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Area under the precision-recall curve as average precision (scikit-learn's definition)."""
    order = np.argsort(-score, kind="stable")
    ends = _tie_ends(-score[order])
    sorted_w = w[:, order]
    true = np.cumsum(sorted_w * positive[order], axis=1)[:, ends]
    called = np.cumsum(sorted_w, axis=1)[:, ends]
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    gained = np.diff(true, axis=1, prepend=0)
    return _ratio((precision * gained).sum(axis=1), true[:, -1])


def _confusion(truth: np.ndarray, guess: np.ndarray, classes: int, w: np.ndarray) -> np.ndarray:
    """Weighted confusion matrices, shape (R, classes, classes), truth first."""
    cell = np.zeros((len(truth), classes * classes))
    cell[np.arange(len(truth)), truth * classes + guess] = 1.0
    return (w @ cell).reshape(len(w), classes, classes)


def align_classes(truth: np.ndarray, classes: list, probabilities: list) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Probabilities of rows whose models knew different classes, on one list of classes.

    Parameters
    ----------
    truth : ndarray of str, shape (n,)
    classes, probabilities : list of length n
        As stored: each row's classes and their probabilities.

    Returns
    -------
    codes : ndarray of int64, shape (n,)
        The true class.
    p : ndarray of float64, shape (n, C)
        0 for a class that the row's model did not know.
    names : list of str
        Sorted union of the classes.
    """
    names = sorted({str(name) for row in classes for name in row} | {str(name) for name in truth})
    position = {name: k for k, name in enumerate(names)}
    p = np.zeros((len(truth), len(names)))
    columns: dict[tuple, np.ndarray] = {}
    for row, (known, values) in enumerate(zip(classes, probabilities, strict=True)):
        key = tuple(known)
        if key not in columns:
            columns[key] = np.array([position[str(name)] for name in key])
        p[row, columns[key]] = values
    return np.array([position[str(name)] for name in truth]), p, names


def subtyping_metrics(truth: np.ndarray, p: np.ndarray, w: np.ndarray) -> dict[str, np.ndarray]:
    """All metrics of subtyping.

    Parameters
    ----------
    truth : ndarray of int, shape (n,)
    p : ndarray of float, shape (n, C)
    w : ndarray of float, shape (R, n)

    Returns
    -------
    dict of str to ndarray, shape (R,)
        accuracy; balanced_accuracy (mean recall of the classes present); macro_f1 (classes
        present in truth or prediction); auroc and auprc (one class against the rest, mean over
        classes present); kappa (Cohen); brier (halved for two classes, so that it is the usual
        one); ece (of the predicted class, ten equal bins). NaN where undefined.
    """
    classes = p.shape[1]
    guess = p.argmax(axis=1)
    table = _confusion(truth, guess, classes, w)
    total = table.sum(axis=(1, 2))
    hit = np.einsum("rkk->rk", table)
    actual, called = table.sum(axis=2), table.sum(axis=1)
    agreement, chance = _ratio(hit.sum(1), total), _ratio((actual * called).sum(1), total**2)
    one_hot = np.eye(classes)[truth]
    with np.errstate(invalid="ignore"):
        kappa = np.where(chance < 1, (agreement - chance) / np.where(chance < 1, 1 - chance, 1), np.nan)
    present = actual > 0
    with_area = present & (actual < total[:, None])
    areas = {name: np.full((len(w), classes), np.nan) for name in ("auroc", "auprc")}
    for k in range(classes):
        if 0 < one_hot[:, k].sum() < len(truth):
            areas["auroc"][:, k] = auroc(truth == k, p[:, k], w)
            areas["auprc"][:, k] = average_precision(truth == k, p[:, k], w)
    brier = ((p - one_hot) ** 2).sum(axis=1) * (0.5 if classes == 2 else 1.0)
    return {
        "accuracy": agreement,
        "balanced_accuracy": _mean(_ratio(hit, actual), present),
        "macro_f1": _mean(_ratio(2 * hit, actual + called), (actual + called) > 0),
        "auroc": _mean(areas["auroc"], with_area),
        "auprc": _mean(areas["auprc"], with_area),
        "kappa": kappa,
        "brier": _ratio(w @ brier, w.sum(axis=1)),
        "ece": _calibration_error(truth == guess, p.max(axis=1), w),
    }


def _mean(values: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Mean over classes in use; NaN without any."""
    return _ratio(np.where(use, np.nan_to_num(values), 0.0).sum(axis=1), use.sum(axis=1).astype(float))


def _calibration_error(correct: np.ndarray, confidence: np.ndarray, w: np.ndarray) -> np.ndarray:
    place = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gap = np.zeros((len(correct), ECE_BINS))
    gap[np.arange(len(correct)), place] = correct - confidence
    return _ratio(np.abs(w @ gap).sum(axis=1), w.sum(axis=1))
