"""Metrics of survival for many weightings of the patients at once (see `mirror.metrics.classification`).

Definitions are scikit-survival's, against which they are tested. Pairs are compared within a
fold only: risks of two folds come from two models, whose scales differ. The censoring
distribution (for inverse-probability weights) is estimated on each fold's TRAINING patients,
and times beyond which fewer than a tenth of them are still under observation are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sksurv.compare import compare_survival
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv

MIN_UNDER_OBSERVATION = 0.1
BRIER_POINTS = 32


@dataclass(frozen=True)
class Censoring:
    """Kaplan-Meier estimate of staying uncensored, G(t), of training patients.

    Attributes
    ----------
    times, probability : ndarray
        Steps of G.
    limit : float
        The last time (days) at which at least a tenth of the training patients are under observation, and
        at which the estimate is not zero.
    """

    times: np.ndarray
    probability: np.ndarray
    limit: float

    @classmethod
    def fit(cls, time: np.ndarray, event: np.ndarray) -> Censoring:
        """Fit on training patients, days and 1 for an event."""
        observed = np.asarray(time, dtype=float)
        if len(observed) == 0:
            return cls(np.empty(0), np.empty(0), 0.0)
        times, g = kaplan_meier_estimator(np.asarray(event) == 1, observed, reverse=True)
        share = 1 - np.searchsorted(np.sort(observed), times, side="left") / len(observed)
        good = (share >= MIN_UNDER_OBSERVATION) & (g > 0)
        return cls(times, g, float(times[good].max()) if good.any() else 0.0)

    def at(self, t: np.ndarray) -> np.ndarray:
        """G(t), right-continuous."""
        place = np.searchsorted(self.times, t, side="right")
        return np.r_[1.0, self.probability][place]


@dataclass(frozen=True)
class FoldRisks:
    """One fold's test patients and its censoring estimate. Arrays have shape (n,) but curves (n, T)."""

    columns: np.ndarray  # column of each row's patient in the weights
    time: np.ndarray
    event: np.ndarray
    risk: np.ndarray
    survival_times: np.ndarray
    survival: np.ndarray
    censoring: Censoring


def _pairs(w: np.ndarray, pair_weight: np.ndarray, risk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted concordant and comparable pairs, each (R,). ``pair_weight`` (cases, n) is 0 where not comparable."""
    cases = np.flatnonzero(pair_weight.any(axis=1))
    if not len(cases):
        return np.zeros(len(w)), np.zeros(len(w))
    difference = risk[cases, None] - risk[None, :]
    won = (difference > 1e-8) + 0.5 * (np.abs(difference) <= 1e-8)
    comparable = pair_weight[cases]
    total = np.einsum("rc,rc->r", w @ comparable.T, w[:, cases])
    return np.einsum("rc,rc->r", w @ (comparable * won).T, w[:, cases]), total


def _comparable(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Whether i is known to have died before j: i died, and j lived longer or was censored at that time."""
    later = time[None, :] > time[:, None]
    tied = (time[None, :] == time[:, None]) & (event[None, :] == 0)
    return (event[:, None] == 1) & (later | tied)


def _case_control(fold: FoldRisks, horizon: float) -> np.ndarray:
    case = (fold.time <= horizon) & (fold.event == 1)
    weight = np.where(case, 1.0 / np.maximum(fold.censoring.at(fold.time), 1e-12), 0.0)
    return weight[:, None] * (fold.time > horizon)[None, :]


def brier_by_patient(fold: FoldRisks, at: np.ndarray | None = None) -> np.ndarray | None:
    """Each patient's integrated Brier contribution, shape (n,); None where it cannot be had.

    Integrated by the trapezoid rule over the span of follow-up of the test patients, as far as
    enough training patients are under observation, and divided by its length; or over the
    times ``at``. The mean over patients is the integrated Brier score (Graf et al. 1999).
    """
    if fold.survival.shape[1] == 0 or len(fold.time) < 2:
        return None
    if at is None:
        start, end = fold.time.min(), min(np.nextafter(fold.time.max(), 0), fold.censoring.limit)
        if not end > start:
            return None
        at = np.linspace(start, end, BRIER_POINTS)
    knots = np.r_[0.0, fold.survival_times]
    curve = np.stack([np.interp(at, knots, np.r_[1.0, row]) for row in fold.survival])
    g_time, g_at = fold.censoring.at(fold.time), fold.censoring.at(at)
    died = (fold.time[:, None] <= at) & (fold.event[:, None] == 1)
    alive = fold.time[:, None] > at
    # An event after the last time used never counts as a case, so that its weight may be anything.
    score = np.where(died, curve**2 / np.maximum(g_time, 1e-12)[:, None], 0.0)
    score += np.where(alive, (1 - curve) ** 2 / g_at, 0.0)
    return np.trapezoid(score, at, axis=1) / (at[-1] - at[0])


def ranking_tables(fold: FoldRisks, horizons_days: Sequence[float]) -> dict[str, np.ndarray]:
    """Weights of the pairs that each ranking metric compares, (n, n) by metric; without those beyond the limit."""
    comparable = _comparable(fold.time, fold.event)
    g = np.maximum(fold.censoring.at(fold.time), 1e-12)
    # Uno's C leaves pairs out whose first event falls beyond the time limit.
    within = comparable * ((fold.time < fold.censoring.limit) / g**2)[:, None]
    tables = {"c_index": comparable.astype(float), "c_index_uno": within}
    for horizon in horizons_days:
        if horizon < fold.censoring.limit:
            tables[f"auc_{horizon:.0f}d"] = _case_control(fold, horizon)
    return tables


def ranking_of_risks(
    folds: Sequence[FoldRisks], risks: Sequence[np.ndarray], horizons_days: Sequence[float]
) -> dict[str, np.ndarray]:
    """The ranking metrics, pooled within folds, under several risks of the same patients.

    Parameters
    ----------
    folds : sequence of FoldRisks
    risks : sequence of ndarray, shapes (B, n)
        For each fold.
    horizons_days : sequence of float

    Returns
    -------
    dict of str to ndarray, shape (B,)
        As `survival_metrics` names them; without those that no pair defines.
    """
    won: dict[str, np.ndarray] = {}
    total: dict[str, float] = {}
    for fold, risk in zip(folds, risks, strict=True):
        for name, table in ranking_tables(fold, horizons_days).items():
            cases = np.flatnonzero(table.any(axis=1))
            difference = risk[:, cases, None] - risk[:, None, :]
            share = (difference > 1e-8) + 0.5 * (np.abs(difference) <= 1e-8)
            won[name] = won.get(name, 0.0) + np.einsum("bcn,cn->b", share, table[cases])
            total[name] = total.get(name, 0.0) + table.sum()
    found = {name: value / total[name] for name, value in won.items() if total[name] > 0}
    areas = [found[name] for name in found if name.startswith("auc_")]
    if areas:
        found["auc_mean"] = np.mean(areas, axis=0)
    return found


def survival_metrics(
    folds: Sequence[FoldRisks], w: np.ndarray, horizons_days: Sequence[float]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All metrics of survival over one fold, or pooled over several.

    Parameters
    ----------
    folds : sequence of FoldRisks
    w : ndarray of float, shape (R, P)
        Weights of the cohort's patients; ``FoldRisks.columns`` points into it.
    horizons_days : sequence of float

    Returns
    -------
    values : dict of str to ndarray, shape (R,)
        c_index (Harrell), c_index_uno, auc_{days}d, auc_mean (over the horizons that could be
        had), ibs.
    left_out : dict of str to str
        Metrics that could not be had, and why.
    """
    names = ["c_index", "c_index_uno", *(f"auc_{h:.0f}d" for h in horizons_days)]
    won, total = ({name: np.zeros(len(w)) for name in names} for _ in range(2))
    ibs, ibs_weight = np.zeros(len(w)), np.zeros(len(w))
    for fold in folds:
        weight = w[:, fold.columns]
        for name, table in ranking_tables(fold, horizons_days).items():
            a, b = _pairs(weight, table, fold.risk)
            won[name] += a
            total[name] += b
        found = brier_by_patient(fold)
        if found is not None:
            ibs += weight @ found
            ibs_weight += weight.sum(axis=1)
    values, left_out = {}, {}
    for name in names:
        # Row 0 is every patient once: what it cannot define, no resample may.
        if total[name][0] > 0:
            values[name] = np.divide(won[name], total[name], out=np.full(len(w), np.nan), where=total[name] > 0)
        else:
            left_out[name] = (
                "no comparable pairs"
                if name.startswith("c_index")
                else "no cases, no controls, or too few under observation at the horizon"
            )
    areas = [values[name] for name in names if name.startswith("auc_") and name in values]
    if areas:
        values["auc_mean"] = np.mean(areas, axis=0)
    if ibs_weight[0] > 0:
        values["ibs"] = np.divide(ibs, ibs_weight, out=np.full(len(w), np.nan), where=ibs_weight > 0)
    else:
        left_out["ibs"] = "no survival curves, or no follow-up to integrate over"
    return values, left_out


def logrank(time: np.ndarray, event: np.ndarray, group: np.ndarray) -> tuple[float, float] | None:
    """Log-rank statistic and its nominal p; None where it is not defined: one group, no event, no variance.

    The p value is that of groups which were fixed before follow-up. Groups by models of a cross-validation
    are not: see `mirror.evaluation.permutation`.
    """
    event, group = np.asarray(event) == 1, np.asarray(group)
    if len(set(group)) < 2 or not event.any():
        return None
    try:
        with np.errstate(all="ignore"):
            value, p = compare_survival(Surv.from_arrays(event, time), group)
    except (np.linalg.LinAlgError, ValueError, ZeroDivisionError):
        return None  # one death, or all in one risk set of one group: no variance to compare with
    return (float(value), float(p)) if np.isfinite(value) and np.isfinite(p) else None


def logrank_p(time: np.ndarray, event: np.ndarray, group: np.ndarray) -> float | None:
    """Log-rank test between risk groups; None with one group only, or without events."""
    found = logrank(time, event, group)
    return None if found is None else found[1]
