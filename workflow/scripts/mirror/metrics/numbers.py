"""Metrics of numbers and of ordered classes, for many weightings of the patients at once.

Weights are as in `mirror.metrics.classification`: (R, n), one row per bootstrap resample.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from .classification import _confusion, _ratio, auroc, within_folds


def pearson(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Weighted Pearson correlation, (R,); NaN where either is constant.

    Parameters
    ----------
    a, b : ndarray of float, shape (n,) or (R, n)
    w : ndarray of float, shape (R, n)
    """
    total = w.sum(axis=1, keepdims=True)
    da = a - _ratio((w * a).sum(axis=1, keepdims=True), total)
    db = b - _ratio((w * b).sum(axis=1, keepdims=True), total)
    both, one, two = ((w * x).sum(axis=1) for x in (da * db, da**2, db**2))
    return _ratio(both, np.sqrt(one * two))


def weighted_ranks(values: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Mid-ranks of the resampled patients, (R, n): a patient drawn twice counts as two that tie.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
    w : ndarray of float, shape (R, n)
    """
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.r_[values[order][1:] != values[order][:-1], True])
    _, place = np.unique(values, return_inverse=True)
    upto = np.cumsum(w[:, order], axis=1)[:, ends]
    below = np.c_[np.zeros(len(w)), upto[:, :-1]]
    return ((below + upto + 1) / 2)[:, place]


def _in_folds(measure, truth: np.ndarray, value: np.ndarray, w: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """A correlation within folds, weighted by their patients: over folds, the folds' means would count."""
    sums, weight = np.zeros(len(w)), np.zeros(len(w))
    for number in np.unique(fold):
        rows = np.flatnonzero(fold == number)
        found = measure(truth[rows], value[rows], w[:, rows])
        size = np.where(np.isfinite(found), w[:, rows].sum(axis=1), 0.0)
        sums += np.nan_to_num(found) * size
        weight += size
    return _ratio(sums, weight)


def _spearman(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> np.ndarray:
    return pearson(weighted_ranks(a, w), weighted_ranks(b, w), w)


def number_metrics(truth: np.ndarray, value: np.ndarray, w: np.ndarray, fold: np.ndarray) -> dict[str, np.ndarray]:
    """All metrics of a number.

    Parameters
    ----------
    truth, value : ndarray of float, shape (n,)
    w : ndarray of float, shape (R, n)
    fold : ndarray of int, shape (n,)
        The model that each row comes from.

    Returns
    -------
    dict of str to ndarray, shape (R,)
        r2 (of all rows; 0 is a guess of their mean, below it is worse), pearson and spearman (within folds, weighted
        by their patients), mae (mean absolute error, in the target's units).
    """
    total = w.sum(axis=1)
    mean = _ratio(w @ truth, total)
    spread = w @ truth**2 - total * mean**2
    return {
        "r2": 1 - _ratio(w @ (truth - value) ** 2, spread),
        "pearson": _in_folds(pearson, truth, value, w, fold),
        "spearman": _in_folds(_spearman, truth, value, w, fold),
        "mae": _ratio(w @ np.abs(truth - value), total),
    }


def number_metrics_of_models(truth: np.ndarray, values: np.ndarray, fold: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of `number_metrics` of the same patients under many sets of values.

    Parameters
    ----------
    truth : ndarray, shape (n,)
    values : ndarray, shape (B, n)
    fold : ndarray of int, shape (n,)
    """
    one = np.ones_like(values)
    ranks_true, ranks = np.zeros(len(truth)), np.zeros_like(values)
    for number in np.unique(fold):
        rows = fold == number
        ranks_true[rows], ranks[:, rows] = rankdata(truth[rows]), rankdata(values[:, rows], axis=1)

    def within(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        sums, weight = np.zeros(len(b)), np.zeros(len(b))
        for number in np.unique(fold):
            rows = fold == number
            found = pearson(a[rows], b[:, rows], one[:, rows])
            size = np.where(np.isfinite(found), rows.sum(), 0)
            sums, weight = sums + np.nan_to_num(found) * size, weight + size
        return _ratio(sums, weight)

    error = values - truth
    return {
        "r2": 1 - (error**2).sum(axis=1) / ((truth - truth.mean()) ** 2).sum(),
        "pearson": within(truth, values),
        "spearman": within(ranks_true, ranks),
        "mae": np.abs(error).mean(axis=1),
    }


def quadratic_kappa(truth: np.ndarray, guess: np.ndarray, levels: int, w: np.ndarray) -> np.ndarray:
    """Cohen's kappa with quadratic weights of ordered levels, (R,).

    Parameters
    ----------
    truth, guess : ndarray of int, shape (n,)
    levels : int
    w : ndarray of float, shape (R, n)
    """
    table = _confusion(truth, guess, levels, w)
    place = np.arange(levels)
    cost = (place[:, None] - place) ** 2
    total = table.sum(axis=(1, 2))
    expected = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None, :] / np.maximum(total, 1e-300)[:, None, None]
    return 1 - _ratio((table * cost).sum(axis=(1, 2)), (expected * cost).sum(axis=(1, 2)))


def neighbour_auroc(truth: np.ndarray, p: np.ndarray, w: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Mean AUROC of each level against the next, by the share of the upper one of the two; (R,).

    Parameters
    ----------
    truth : ndarray of int, shape (n,)
    p : ndarray of float, shape (n, levels)
        Columns in the order of the levels.
    w, fold
        See `number_metrics`.
    """
    found = []
    for low in range(p.shape[1] - 1):
        rows = np.flatnonzero((truth == low) | (truth == low + 1))
        upper = truth[rows] == low + 1
        if 0 < upper.sum() < len(rows):
            pair = p[rows, low] + p[rows, low + 1]
            score = np.divide(p[rows, low + 1], pair, out=np.full(len(rows), 0.5), where=pair > 0)
            found.append(within_folds(auroc, upper, score, w[:, rows], fold[rows]))
    if not found:
        return np.full(len(w), np.nan)
    stacked = np.stack(found)
    known = np.isfinite(stacked)
    return _ratio(np.where(known, stacked, 0).sum(axis=0), known.sum(axis=0).astype(float))
