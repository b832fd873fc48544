"""Metrics of subtyping and retrieval for many weightings of the patients at once.

Every function takes weights ``w`` of shape (R, n), one row a bootstrap resample (the number
of times each patient was drawn), and returns R values. A row of ones gives the plain metric,
so that the reported value and its interval come from the same code; both are linear in R * n.
A value that is not defined for a resample (a class drawn by nobody) is NaN there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

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


def within_folds(
    area: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    positive: np.ndarray,
    score: np.ndarray,
    w: np.ndarray,
    fold: np.ndarray,
) -> np.ndarray:
    """A ranking metric pooled within folds: scores of two folds come from two models and have no common scale.

    Parameters
    ----------
    area : callable
        `auroc`, whose folds count by their pairs, or `average_precision`, whose folds count by their positives.
    positive, score, w
        As for `auroc`.
    fold : ndarray of int, shape (n,)

    Returns
    -------
    ndarray of float64, shape (R,)
        NaN where no fold has both classes.
    """
    total, weight = np.zeros(len(w)), np.zeros(len(w))
    for number in np.unique(fold):
        rows = np.flatnonzero(fold == number)
        some, y = w[:, rows], positive[rows]
        pos, neg = some[:, y].sum(axis=1, dtype=float), some[:, ~y].sum(axis=1, dtype=float)
        share = np.where((pos > 0) & (neg > 0), pos * neg if area is auroc else pos, 0.0)
        if share.any():
            total += share * np.nan_to_num(area(y, score[rows], some))
            weight += share
    return _ratio(total, weight)


def subtyping_metrics(
    truth: np.ndarray, p: np.ndarray, w: np.ndarray, fold: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """All metrics of subtyping.

    Parameters
    ----------
    truth : ndarray of int, shape (n,)
    p : ndarray of float, shape (n, C)
    w : ndarray of float, shape (R, n)
    fold : ndarray of int, shape (n,), optional
        The model that each row comes from; one by default. AUROC and AUPRC compare rows of one model only.

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
    fold = np.zeros(len(truth), dtype=int) if fold is None else fold
    areas = {name: np.full((len(w), classes), np.nan) for name in ("auroc", "auprc")}
    for k in range(classes):
        if 0 < one_hot[:, k].sum() < len(truth):
            areas["auroc"][:, k] = within_folds(auroc, truth == k, p[:, k], w, fold)
            areas["auprc"][:, k] = within_folds(average_precision, truth == k, p[:, k], w, fold)
    brier = ((p - one_hot) ** 2).sum(axis=1) * (0.5 if classes == 2 else 1.0)
    return {
        "accuracy": agreement,
        "balanced_accuracy": _mean(_ratio(hit, actual), present),
        "macro_f1": _mean(_ratio(2 * hit, actual + called), (actual + called) > 0),
        "auroc": _mean(areas["auroc"], np.isfinite(areas["auroc"])),
        "auprc": _mean(areas["auprc"], np.isfinite(areas["auprc"])),
        "kappa": kappa,
        "brier": _ratio(w @ brier, w.sum(axis=1)),
        "ece": _calibration_error(truth == guess, p.max(axis=1), w),
    }


def metrics_of_models(truth: np.ndarray, p: np.ndarray, fold: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of `subtyping_metrics` (without ece) of the same patients under many sets of probabilities.

    Parameters
    ----------
    truth : ndarray of int, shape (n,)
    p : ndarray of float, shape (B, n, C)
    fold : ndarray of int, shape (n,)

    Returns
    -------
    dict of str to ndarray, shape (B,)
        Without a metric that no class defines. Ties in AUPRC are broken by the patients' order.
    """
    classes, n = p.shape[2], len(truth)
    guess, one_hot = p.argmax(axis=2), np.eye(classes)[truth]
    called = np.eye(classes)[guess]  # (B, n, C)
    actual, total = one_hot.sum(axis=0), called.sum(axis=1)
    hit = np.einsum("bnc,nc->bc", called, one_hot)
    agreement, chance = hit.sum(axis=1) / n, (actual * total).sum(axis=1) / n**2
    present = actual > 0
    area, precision = [], []
    for k in range(classes):
        sums = np.zeros((4, len(p)))
        for number in np.unique(fold):
            rows = np.flatnonzero(fold == number)
            y, score = truth[rows] == k, p[:, rows, k]
            pos, neg = int(y.sum()), int((~y).sum())
            if not pos or not neg:
                continue
            ranks = rankdata(score, axis=1)
            sums[0] += ranks[:, y].sum(axis=1) - pos * (pos + 1) / 2
            sums[1] += pos * neg
            met = y[np.argsort(-score, axis=1, kind="stable")]
            sums[2] += (np.cumsum(met, axis=1) / np.arange(1, len(rows) + 1) * met).sum(axis=1)
            sums[3] += pos
        if sums[1].any():
            area.append(sums[0] / sums[1])
            precision.append(sums[2] / sums[3])
    f1 = _ratio(2 * hit, actual + total)
    found = {
        "accuracy": agreement,
        "balanced_accuracy": (hit[:, present] / actual[present]).mean(axis=1),
        "macro_f1": _mean(f1, (actual + total) > 0),
        "kappa": np.divide(agreement - chance, 1 - chance, out=np.full(len(p), np.nan), where=chance < 1),
        "brier": ((p - one_hot) ** 2).sum(axis=2).mean(axis=1) * (0.5 if classes == 2 else 1.0),
    }
    if area:
        found |= {"auroc": np.mean(area, axis=0), "auprc": np.mean(precision, axis=0)}
    return found


def _mean(values: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Mean over classes in use; NaN without any."""
    return _ratio(np.where(use, np.nan_to_num(values), 0.0).sum(axis=1), use.sum(axis=1).astype(float))


def _calibration_error(correct: np.ndarray, confidence: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Expected calibration error; its own noise is removed bin by bin.

    The gap of a bin is the mean of n differences, so that its square is too large by their variance over
    n, even where the probabilities are perfect: it is taken off before the root (Brocker 2012).
    """
    place = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    member = np.zeros((len(correct), ECE_BINS))
    member[np.arange(len(correct)), place] = 1.0
    gap = member * (correct - confidence)[:, None]
    count, first, second = w @ member, w @ gap, w @ gap**2
    mean = np.divide(first, count, out=np.zeros_like(first), where=count > 0)
    spread = np.divide(second, count, out=np.zeros_like(first), where=count > 0) - mean**2
    noise = np.divide(spread, count - 1, out=mean**2, where=count > 1)  # a bin of one patient says nothing
    return _ratio((count * np.sqrt(np.maximum(mean**2 - noise, 0.0))).sum(axis=1), w.sum(axis=1))
