"""Discrete-time hazards: time bins at quantiles of the training events, their likelihood and its maximum.

The likelihood stands here for arrays (convex models, solved exactly) and in `hazard_loss` for networks; a test
compares the two.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

CLAMP = 1e-7
"""Hazards lie between this and one minus this, so that no patient costs an infinite loss."""
BIAS_PENALTY = 1e-3
"""Keeps the bias finite in a bin that nobody survives; elsewhere it changes the fourth digit."""


def time_bins(time: np.ndarray, event: np.ndarray, bins: int) -> np.ndarray:
    """Inner edges of time bins, at quantiles of the event times.

    Parameters
    ----------
    time, event : ndarray, shape (n,)
        TRAINING patients alone, days and 1 for an event.
    bins : int

    Returns
    -------
    ndarray of float64, shape (at most bins - 1,)
        Strictly increasing; bin k is [edge k-1, edge k). Every bin holds an event.
    """
    times = np.asarray(time, dtype=np.float64)[np.asarray(event) == 1]
    if len(times) == 0:
        return np.empty(0)
    edges = np.unique(np.quantile(times, np.linspace(0, 1, bins + 1)[1:-1]))
    # An edge at the first event time, or between the same two events as its neighbour, would
    # leave a bin without events, whose hazard cannot be fitted.
    below = np.searchsorted(np.sort(times), edges, side="left")
    keep = np.diff(np.r_[0, below]) > 0
    return edges[keep & (below < len(times))]


def assign_bins(time: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bin of each time, int64, 0 to len(edges)."""
    return np.searchsorted(edges, np.asarray(time, dtype=np.float64), side="right")


def risk_table(bins: np.ndarray, event: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Who is at risk in which bin, and who has the event there.

    Parameters
    ----------
    bins, event : ndarray of int, shape (n,)
        Bin of the event or of censoring, and 1 for an event.
    n_bins : int

    Returns
    -------
    at_risk, hit : ndarray of bool, shape (n, n_bins)
    """
    step = np.arange(n_bins)
    return step <= bins[:, None], (step == bins[:, None]) & (np.asarray(event) == 1)[:, None]


def nll_terms(logits: np.ndarray, at_risk: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Negative log likelihood of each (patient, bin) pair: that of a logistic regression over the pairs at risk."""
    return at_risk * (np.logaddexp(0, logits) - hit * logits)


def nll_discrete(logits: np.ndarray, bins: np.ndarray, event: np.ndarray, alpha: float = 0.0) -> float:
    """Mean negative log likelihood of discrete-time hazards (Zadeh and Schmid, IEEE TPAMI 2021).

    For an event in bin T: -[sum over t < T of log(1 - h_t) + log h_T]; censored in bin T:
    -sum over t <= T of log(1 - h_t). Returned is the mean of (1 - alpha) NLL + alpha NLL of
    events alone. Hazards are clamped to [1e-7, 1 - 1e-7].

    Parameters
    ----------
    logits : ndarray, shape (n, B)
    bins : ndarray of int, shape (n,)
    event : ndarray of int, shape (n,)
        1 for an event.
    alpha : float
    """
    bound = np.log((1 - CLAMP) / CLAMP)
    loss = nll_terms(np.clip(logits, -bound, bound), *risk_table(bins, event, logits.shape[1])).sum(1)
    return float(((1 - alpha) * loss + alpha * loss * (np.asarray(event) == 1)).mean())


def fit_hazards(
    x: np.ndarray,
    bins: np.ndarray,
    event: np.ndarray,
    n_bins: int,
    C: float,
    tol: float = 1e-6,
    first: np.ndarray | None = None,
) -> np.ndarray:
    """L2-penalised discrete-time hazards, one linear output per bin.

    Returns
    -------
    ndarray of float64, shape (D + 1, n_bins)
        Weights; the last row is the bias, whose penalty is tiny (`BIAS_PENALTY`).
    """
    at_risk, target = risk_table(bins, event, n_bins)
    a = np.c_[x, np.ones(len(x))]
    # Start at the bins' own event rates: the solution when the penalty is infinite.
    start = np.zeros((a.shape[1], n_bins))
    rate = (target.sum(0) + 0.5) / (at_risk.sum(0) + 1.0)
    start[-1] = np.log(rate / (1 - rate))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(start.shape)
        z = a @ w
        loss = nll_terms(z, at_risk, target).sum()
        gradient = a.T @ (at_risk * (expit(z) - target))
        gradient[:-1] += w[:-1] / C
        drift = w[-1] - start[-1]
        gradient[-1] += BIAS_PENALTY * drift
        return loss + 0.5 * (w[:-1] ** 2).sum() / C + 0.5 * BIAS_PENALTY * (drift @ drift), gradient.ravel()

    begin = start if first is None else first
    found = minimize(objective, begin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "gtol": tol})
    return found.x.reshape(start.shape)


def curve_from_hazards(h: np.ndarray, edges: np.ndarray, end: float, at: np.ndarray) -> np.ndarray:
    """Survival curves (n, T) at the times ``at`` from hazards per bin (n, B), linear between the bins' edges."""
    stop = np.maximum(end, (edges[-1] if len(edges) else 0.0) * (1 + 1e-9) + 1e-9)
    knots = np.r_[0.0, edges, stop]
    values = np.c_[np.ones(len(h)), np.cumprod(1 - h, axis=1)]
    return np.stack([np.interp(at, knots, row) for row in values])
