"""What a bootstrap over test patients misses: the training patients, and the draws of a few-shot set.

A resample of the test patients holds the models fixed. To its values are added deviations of the same
metric from an independent source: heads refitted on resampled training patients (`mirror.heads.refits`),
or few-shot draws resampled within their folds. Both are shared between methods, so that a difference of
two methods keeps what they have in common. The variances add up: at chance, where patient i tests a
model that j trained and j one that i trained, the training patients' part equals the test patients'
(a degenerate U statistic of order two), and it falls as the signal grows.

Models that cannot be refitted cheaply get the bound instead: their resamples are spread about the value
by the square root of two. So do metrics that are cut at a threshold or read the probabilities' scale
(`CUT_OR_SCALED`) of models that are refitted: the scale follows the penalty, and a refit keeps the penalty.
`benchmarks/calibration.py` measures what either covers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.protocols import is_fewshot
from ..metrics.names import BOUNDS, CUT_OR_SCALED, PATIENTS_ONLY

UNREFITTED_SPREAD = float(np.sqrt(2.0))
"""Standard error with the training patients over that without, at chance; an upper bound elsewhere."""
TRAINED = ("linear", "supervised", "finetune")
REFITS, WIDENED, TEST_ONLY = "refits", "widened", "test patients"
REFITS_WIDENED, DRAWS_WIDENED = "refits, widened", "draws, widened"
"""What an interval covers beside the test patients."""


def add_deviations(values: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Bootstrap values (R + 1,) with deviations (B,) added in turn to the resamples; row 0 stays the value."""
    known = deviations[np.isfinite(deviations)]
    if len(known) < 2:
        return values
    centred = deviations - known.mean()
    out = values.astype(float).copy()
    out[1:] += np.resize(centred, len(values) - 1)
    return out


def centre(values: np.ndarray) -> np.ndarray:
    """Bootstrap values (R + 1,) moved so that their mean is the value, row 0.

    For metrics of which a resample is a biased estimate: a patient drawn twice is its own neighbour in the ranking,
    and average precision is some 0.02 larger in the resamples than in the sample, a standard error of a few-shot row.
    """
    out = values.astype(float).copy()
    known = out[1:][np.isfinite(out[1:])]
    if len(known) and np.isfinite(out[0]):
        out[1:] -= known.mean() - out[0]
    return out


def widen(values: np.ndarray, factor: float = UNREFITTED_SPREAD) -> np.ndarray:
    """Bootstrap values (R + 1,) spread about their mean by a factor; row 0 stays the value."""
    out = values.astype(float).copy()
    drawn = out[1:]
    middle = np.nanmean(drawn) if np.isfinite(drawn).any() else np.nan
    out[1:] = middle + factor * (drawn - middle)
    return out


def draw_deviations(
    by_fold: Mapping[tuple, tuple[int, Mapping[int, float]]], resamples: int, seed: int
) -> np.ndarray | None:
    """Deviations of a metric that is a mean over few-shot draws, (resamples,).

    Parameters
    ----------
    by_fold : mapping of (repeat, fold) to (patients, mapping of draw to value)
        A fold's draws are independent of another fold's: each fold resamples its own.
    resamples, seed : int
        The seed is the same for all methods, which drew the same patients.

    Returns
    -------
    ndarray or None
        None with fewer than two draws in every fold.
    """
    total, weight = np.zeros(resamples), 0.0
    known = False
    for number, (_, (patients, values)) in enumerate(sorted(by_fold.items())):
        weight += patients
        draws = sorted(values)
        if len(draws) < 2:
            continue
        known = True
        value = np.array([values[d] for d in draws])
        rng = np.random.default_rng([seed, 77, number, len(draws)])
        chosen = rng.integers(0, len(draws), (resamples, len(draws)))
        # The spread of a resampled mean of D values is too small by (D - 1) / D.
        scale = np.sqrt(len(draws) / (len(draws) - 1))
        total += patients * scale * (value[chosen].mean(axis=1) - value.mean())
    return total / weight if known else None


def bounded(metric: str, low: float, high: float) -> tuple[float, float]:
    """An interval within the values that the metric can take."""
    least, most = BOUNDS.get(metric, (0.0, 1.0))
    return max(low, least), min(high, most)


def covers(protocol: str, trained: bool, metric: str, refitted: bool, drawn: bool) -> str:
    """What the interval of a metric covers beside its test patients."""
    if metric in PATIENTS_ONLY or not trained:
        return TEST_ONLY
    if is_fewshot(protocol):
        # Draws of a fold share its training patients: without widening, AUROC covered 85 % with a signal.
        return DRAWS_WIDENED if drawn else WIDENED
    if protocol not in TRAINED:
        return TEST_ONLY
    if not refitted:
        return WIDENED
    return REFITS_WIDENED if metric in CUT_OR_SCALED else REFITS
