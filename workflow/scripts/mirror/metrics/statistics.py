"""Intervals and tests: bootstrap over patients, DeLong, corrected resampled t, Holm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata
from scipy.stats import t as student


def bootstrap_weights(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of ``n`` patients is drawn in each resample.

    Parameters
    ----------
    n, resamples, seed : int

    Returns
    -------
    ndarray of float32, shape (resamples + 1, n)
        Row 0 is ones: every patient once. Float32 holds these counts exactly and halves the
        memory; metrics accumulate in float64 where their tables are.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, np.full(n, 1.0 / n), size=resamples)
    return np.vstack([np.ones((1, n)), drawn]).astype(np.float32)


@dataclass(frozen=True)
class Interval:
    """A value and its confidence interval; ``usable`` resamples were defined."""

    value: float
    low: float
    high: float
    usable: int


def percentile_interval(values: np.ndarray, level: float) -> Interval:
    """Percentile interval of bootstrap values (row 0 is the value itself).

    Resamples in which the metric is not defined (NaN) are left out; with fewer than half of
    them left, the interval is NaN, which tables show as empty.
    """
    drawn = values[1:][np.isfinite(values[1:])]
    if len(drawn) < max(2, (len(values) - 1) / 2):
        return Interval(float(values[0]), np.nan, np.nan, len(drawn))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values[0]), float(low), float(high), len(drawn))


@dataclass(frozen=True)
class Difference:
    """a - b with its interval and two-sided p value."""

    value: float
    low: float
    high: float
    p: float


def paired_bootstrap(a: np.ndarray, b: np.ndarray, level: float) -> Difference | None:
    """Difference of two methods scored on the same resamples.

    Parameters
    ----------
    a, b : ndarray, shape (R + 1,)
        Bootstrap values from the same weights; row 0 is the value itself.
    level : float

    Returns
    -------
    Difference or None
        The interval is the percentile interval. The p value is that of difference / bootstrap
        standard error under the normal distribution, because a share of R resamples cannot be
        smaller than 1 / R, which Holm's correction over a table would turn into 1. None when
        fewer than half of the resamples are defined.
    """
    gap = a - b
    interval = percentile_interval(gap, level)
    if not np.isfinite([interval.value, interval.low, interval.high]).all():
        return None
    drawn = gap[1:][np.isfinite(gap[1:])]
    error = drawn.std(ddof=1)
    if error < 1e-12:
        p = 1.0 if abs(interval.value) < 1e-12 else 0.0
    else:
        p = float(2 * norm.sf(abs(interval.value) / error))
    return Difference(interval.value, interval.low, interval.high, p)


def _placements(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's structural components by midranks (Sun and Xu 2014)."""
    a, b = score[positive], score[~positive]
    everyone = rankdata(np.r_[a, b])
    m, n = len(a), len(b)
    return (everyone[:m] - rankdata(a)) / n, 1 - (everyone[m:] - rankdata(b)) / m


def delong(positive: np.ndarray, a: np.ndarray, b: np.ndarray, level: float = 0.95) -> Difference | None:
    """DeLong's test of two correlated ROC areas (DeLong, DeLong and Clarke-Pearson 1988).

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    a, b : ndarray of float, shape (n,)
        Scores of the same patients by two methods.
    level : float

    Returns
    -------
    Difference or None
        None with fewer than two patients of either class.
    """
    positive = np.asarray(positive, dtype=bool)
    m, n = int(positive.sum()), int((~positive).sum())
    if m < 2 or n < 2:
        return None
    pairs = [_placements(positive, np.asarray(score, dtype=float)) for score in (a, b)]
    first, second = np.stack([p for p, _ in pairs]), np.stack([q for _, q in pairs])
    contrast = np.array([1.0, -1.0])
    variance = contrast @ (np.cov(first) / m + np.cov(second) / n) @ contrast
    gap = float(first[0].mean() - first[1].mean())
    if variance < 1e-15:
        return Difference(gap, gap, gap, 1.0 if abs(gap) < 1e-12 else 0.0)
    error = float(np.sqrt(variance))
    reach = float(norm.ppf((1 + level) / 2)) * error
    return Difference(gap, gap - reach, gap + reach, float(2 * norm.sf(abs(gap) / error)))


def delong_variance(positive: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve and DeLong's variance of it."""
    first, second = _placements(np.asarray(positive, dtype=bool), np.asarray(score, dtype=float))
    return float(first.mean()), float(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))


def corrected_resampled_t(differences: np.ndarray, test_share: float, level: float = 0.95) -> Difference | None:
    """Corrected resampled t test over (repeated) folds (Nadeau and Bengio 2003).

    Parameters
    ----------
    differences : ndarray, shape (J,)
        One difference a fold and repeat.
    test_share : float
        Test patients over training patients, n2 / n1; 1 / (k - 1) in k-fold cross-validation.
    level : float

    Returns
    -------
    Difference or None
        None with fewer than two differences.
    """
    d = np.asarray(differences, dtype=float)
    if len(d) < 2:
        return None
    error = float(np.sqrt((1 / len(d) + test_share) * d.var(ddof=1)))
    gap = float(d.mean())
    if error < 1e-12:
        return Difference(gap, gap, gap, 1.0 if abs(gap) < 1e-12 else 0.0)
    reach = float(student.ppf((1 + level) / 2, len(d) - 1)) * error
    return Difference(gap, gap - reach, gap + reach, float(2 * student.sf(abs(gap) / error, len(d) - 1)))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjusted p values, in the order given."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
