"""Absolute risks at a horizon: observed risk, net benefit, calibration by groups of predicted risk.

Patients who are censored before the horizon count by Kaplan-Meier: among the patients whose predicted risk is above a
threshold, the share with an event by the horizon is one minus their Kaplan-Meier estimate (Vickers, Cronin, Elkin and
Gonen 2008). All patients are pooled: absolute risks of two models have one scale, as their rankings have not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sksurv.nonparametric import kaplan_meier_estimator

MIN_ABOVE = 10
"""Fewer patients above a threshold give no net benefit: their Kaplan-Meier estimate is a guess."""
MIN_GROUP_EVENTS = 5
"""Events by the horizon for each calibration group, on average."""


def risk_at(survival_times: Sequence[np.ndarray], survival: Sequence[np.ndarray], horizon: float) -> np.ndarray:
    """Predicted risk of an event by the horizon.

    Parameters
    ----------
    survival_times : sequence of n ndarrays
        Days.
    survival : sequence of n ndarrays
        Probability of surviving beyond each of these times, linear between them and 1 at time 0.
    horizon : float
        Days.

    Returns
    -------
    ndarray of float, shape (n,)
        NaN where a patient's curve ends before the horizon or does not exist.
    """
    out = np.full(len(survival), np.nan)
    for i, (times, curve) in enumerate(zip(survival_times, survival, strict=True)):
        if len(times) and times[-1] >= horizon:
            out[i] = 1 - np.interp(horizon, np.r_[0.0, times], np.r_[1.0, curve])
    return out


def observed_risk(time: np.ndarray, event: np.ndarray, horizon: float, weights: np.ndarray | None = None) -> np.ndarray:
    """One minus the Kaplan-Meier estimate at the horizon.

    Parameters
    ----------
    time, event : ndarray, shape (n,)
    horizon : float
    weights : ndarray, shape (R, n), optional
        How often each patient counts; once by default.

    Returns
    -------
    ndarray of float, shape (R,)
        NaN where nobody is under observation up to the horizon and not all had an event.
    """
    w = np.ones((1, len(time))) if weights is None else np.asarray(weights, dtype=float)
    order = np.lexsort((-np.asarray(event), time))  # events before censored patients of the same day
    time, dead, w = np.asarray(time)[order], np.asarray(event)[order] == 1, w[:, order]
    at_risk = np.cumsum(w[:, ::-1], axis=1)[:, ::-1]
    lost = np.where(dead & (time <= horizon), w, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Factors of patients who die on one day multiply to that day's factor.
        factor = np.where(at_risk > 0, 1 - lost / at_risk, 1.0)
    survived = np.prod(np.clip(factor, 0.0, 1.0), axis=1)
    seen = (w[:, time >= horizon]).sum(axis=1) > 0
    return np.where(seen | (survived < 1e-12), 1 - survived, np.nan)


def net_benefit(
    time: np.ndarray,
    event: np.ndarray,
    risk: np.ndarray,
    horizon: float,
    thresholds: np.ndarray,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Net benefit of treating the patients whose predicted risk is above a threshold (Vickers and Elkin 2006).

    True positives minus false positives times the odds of the threshold, per patient.

    Parameters
    ----------
    time, event, risk : ndarray, shape (n,)
        ``risk`` is the predicted risk of an event by the horizon; infinite for "treat all".
    horizon : float
    thresholds : ndarray, shape (T,)
        Between 0 and 1.
    weights : ndarray, shape (R, n), optional
        See `observed_risk`.

    Returns
    -------
    ndarray of float, shape (R, T)
        NaN where 1 to `MIN_ABOVE` - 1 patients are above, or nobody of them is under observation at the horizon.
    """
    w = np.ones((1, len(time))) if weights is None else np.asarray(weights, dtype=float)
    out = np.full((len(w), len(thresholds)), np.nan)
    everyone = w.sum(axis=1)
    for k, threshold in enumerate(thresholds):
        above = risk > threshold
        if not above.any():
            out[:, k] = 0.0
        if above.sum() < MIN_ABOVE:
            continue
        share = w[:, above].sum(axis=1) / everyone
        dead = observed_risk(time[above], event[above], horizon, w[:, above])
        out[:, k] = share * (dead - (1 - dead) * threshold / (1 - threshold))
    return out


@dataclass(frozen=True)
class RiskGroup:
    """Patients of similar predicted risk: their mean predicted risk, and the observed one with its interval."""

    n: int
    events: int
    predicted: float
    observed: float
    low: float
    high: float


def calibration_groups(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, horizon: float, groups: int = 5, level: float = 0.95
) -> list[RiskGroup]:
    """Predicted against observed risk at a horizon, in groups of equal size by predicted risk.

    Parameters
    ----------
    time, event, risk : ndarray, shape (n,)
    horizon : float
    groups : int
        At most; fewer where there are not `MIN_GROUP_EVENTS` events by the horizon for each, and where risks tie.
    level : float
        Of the log-log interval of the Kaplan-Meier estimate.

    Returns
    -------
    list of RiskGroup
        By rising predicted risk; without groups in which nobody is under observation at the horizon.
    """
    events = int(((event == 1) & (time <= horizon)).sum())
    number = max(1, min(groups, events // MIN_GROUP_EVENTS))
    cuts = np.unique(np.quantile(risk, np.linspace(0, 1, number + 1)[1:-1]))
    member = np.searchsorted(cuts, risk, side="left")
    out = []
    for group in np.unique(member):
        rows = member == group
        observed = float(observed_risk(time[rows], event[rows], horizon)[0])
        if np.isnan(observed):
            continue
        low, high = _interval(time[rows], event[rows], horizon, observed, level)
        dead = int(((event[rows] == 1) & (time[rows] <= horizon)).sum())
        out.append(RiskGroup(int(rows.sum()), dead, float(risk[rows].mean()), observed, low, high))
    return out


def _interval(
    time: np.ndarray, event: np.ndarray, horizon: float, observed: float, level: float
) -> tuple[float, float]:
    """Log-log interval of one minus Kaplan-Meier; without an event, the exact bound for none of n."""
    dead = (event == 1) & (time <= horizon)
    if not dead.any():
        return 0.0, float(1 - ((1 - level) / 2) ** (1 / len(time)))
    if observed >= 1:
        return np.nan, np.nan
    t, _, band = kaplan_meier_estimator(event == 1, time, conf_level=level, conf_type="log-log")
    at = np.searchsorted(t, horizon, side="right") - 1
    return float(1 - band[1][at]), float(1 - band[0][at])
