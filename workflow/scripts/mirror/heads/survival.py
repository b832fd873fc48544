"""Survival heads: discrete-time hazards on training-quantile bins, and ridge Cox.

Both are convex, fitted by L-BFGS with exact gradients, and choose their penalty inside the
training patients. Documented fallbacks, so that no fold ends in NaN:

- fewer than two training events: the fold is left out with a reason (`TooFewEvents`);
- fewer than ``min_events`` training events: the strongest penalty is taken without a choice,
  and at most two time bins are used;
- quantiles that coincide: equal edges are merged, which leaves fewer bins.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from ..config.evaluation import ProbeSettings, SurvivalSettings
from .adam import adam_linear
from .scaling import PLAIN, Scaling, Standardiser, inner_folds

log = logging.getLogger(__name__)
GRID_POINTS = 32
CLAMP = 1e-7
BIAS_PENALTY = 1e-3
"""Keeps the bias finite in a bin that nobody survives; elsewhere it changes the fourth digit."""
INNER_TOL = 1e-3
"""Gradient at which fits that only choose a penalty stop."""


class TooFewEvents(ValueError):
    """A fold whose training patients have too few events for any survival model."""


@dataclass(frozen=True)
class SurvivalPrediction:
    """What a survival head says about test patients.

    Attributes
    ----------
    risk : ndarray of float64, shape (m,)
        One risk a patient, larger is worse.
    threshold : float
        Median risk of the training patients.
    times : ndarray of float64, shape (T,)
        Days.
    survival : ndarray of float64, shape (m, T)
        Probability of surviving beyond each time.
    """

    risk: np.ndarray
    threshold: float
    times: np.ndarray
    survival: np.ndarray


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


def nll_discrete(logits: np.ndarray, bins: np.ndarray, event: np.ndarray, alpha: float = 0.0) -> float:
    """Negative log likelihood of discrete-time hazards, as published.

    For an event in bin T: -[sum over t < T of log(1 - h_t) + log h_T]; censored in bin T:
    -sum over t <= T of log(1 - h_t). Returned is the mean of (1 - alpha) NLL + alpha NLL of
    events alone.

    Parameters
    ----------
    logits : ndarray, shape (n, B)
    bins : ndarray of int, shape (n,)
    event : ndarray of int, shape (n,)
        1 for an event.
    alpha : float
    """
    h = np.clip(expit(logits), CLAMP, 1 - CLAMP)
    step = np.arange(logits.shape[1])
    is_event = (event == 1)[:, None]
    before = step < bins[:, None]
    here = step == bins[:, None]
    died = -(before * np.log1p(-h) + here * np.log(h)).sum(1) * is_event[:, 0]
    censored = -((before | here) * np.log1p(-h)).sum(1) * ~is_event[:, 0]
    return float(((1 - alpha) * (died + censored) + alpha * died).mean())


def fit_hazards(
    x: np.ndarray,
    bins: np.ndarray,
    event: np.ndarray,
    n_bins: int,
    C: float,
    tol: float = 1e-6,
    first: np.ndarray | None = None,
) -> np.ndarray:
    """L2-penalised discrete-time hazards, one linear output a bin (the published head).

    The likelihood is that of a logistic regression over the (patient, bin) pairs at risk.

    Returns
    -------
    ndarray of float64, shape (D + 1, n_bins)
        Weights; the last row is the bias, which is penalised by a trifle only.
    """
    at_risk = np.arange(n_bins) <= bins[:, None]
    target = (np.arange(n_bins) == bins[:, None]) & (event == 1)[:, None]
    a = np.c_[x, np.ones(len(x))]
    # Start at the bins' own event rates: the solution when the penalty is infinite.
    start = np.zeros((a.shape[1], n_bins))
    rate = (target.sum(0) + 0.5) / (at_risk.sum(0) + 1.0)
    start[-1] = np.log(rate / (1 - rate))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(start.shape)
        z = a @ w
        loss = (at_risk * (np.logaddexp(0, z) - target * z)).sum()
        gradient = a.T @ (at_risk * (expit(z) - target))
        gradient[:-1] += w[:-1] / C
        drift = w[-1] - start[-1]
        gradient[-1] += BIAS_PENALTY * drift
        return loss + 0.5 * (w[:-1] ** 2).sum() / C + 0.5 * BIAS_PENALTY * (drift @ drift), gradient.ravel()

    begin = start if first is None else first
    found = minimize(objective, begin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "gtol": tol})
    return found.x.reshape(start.shape)


def cox_loss(eta: np.ndarray, time: np.ndarray, event: np.ndarray) -> tuple[float, np.ndarray]:
    """Breslow negative log partial likelihood (a sum) and its gradient in the linear predictor.

    Parameters
    ----------
    eta, time, event : ndarray, shape (n,)
    """
    order = np.argsort(-time, kind="stable")
    top = eta.max()
    weight = np.exp(eta[order] - top)
    total = np.cumsum(weight)
    # Everybody with the same time is in the risk set of that time.
    last = np.searchsorted(-time[order], -time[order], side="right") - 1
    risk_set = total[last]
    died = event[order] == 1
    value = (np.log(risk_set[died]) + top - eta[order][died]).sum()
    share = np.where(died, 1.0 / risk_set, 0.0)
    first = np.searchsorted(-time[order], -time[order], side="left")
    later = np.cumsum(share[::-1])[::-1]  # sum over events at this place and after it
    gradient = np.empty_like(eta)
    gradient[order] = weight * later[first] - died
    return float(value), gradient


def fit_cox(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, C: float, tol: float = 1e-6, first: np.ndarray | None = None
) -> np.ndarray:
    """Ridge Cox by L-BFGS from ``first``: minimises the Breslow loss + |w|^2 / (2 C). Returns w, shape (D,)."""

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = cox_loss(x @ w, time, event)
        return value + 0.5 * (w @ w) / C, x.T @ slope + w / C

    start = np.zeros(x.shape[1]) if first is None else first
    return minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "gtol": tol}).x


def breslow(eta: np.ndarray, time: np.ndarray, event: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Breslow's cumulative baseline hazard at the times ``at``."""
    order = np.argsort(time)
    t, d, w = time[order], event[order] == 1, np.exp(eta[order])
    remaining = np.cumsum(w[::-1])[::-1][np.searchsorted(t, t, side="left")]
    steps = np.cumsum(np.where(d, 1.0 / remaining, 0.0))
    return np.r_[0.0, steps][np.searchsorted(t, at, side="right")]


def time_grid(time: np.ndarray, points: int = GRID_POINTS) -> np.ndarray:
    """Times (days) at which survival curves are stored: quantiles of the training times."""
    return np.unique(np.quantile(time, np.linspace(0, 1, points)))


def curve_from_hazards(h: np.ndarray, edges: np.ndarray, end: float, at: np.ndarray) -> np.ndarray:
    """Survival curves from hazards per bin, linear between the bins' edges."""
    stop = np.maximum(end, (edges[-1] if len(edges) else 0.0) * (1 + 1e-9) + 1e-9)
    knots = np.r_[0.0, edges, stop]
    values = np.c_[np.ones(len(h)), np.cumprod(1 - h, axis=1)]
    return np.stack([np.interp(at, knots, row) for row in values])


def _choose(x, strata, fit_score, grid, folds, seed) -> float:
    """The penalty with the best cross-validated score (smaller is better)."""
    splits = inner_folds(strata, folds, seed)
    if len(grid) == 1 or not splits:
        return grid[0]
    score = np.zeros(len(grid))
    for train, test in splits:
        w = None  # each fit starts from the one before, whose penalty is larger
        for place, C in enumerate(grid):
            value, w = fit_score(x[train], x[test], train, test, C, w)
            score[place] += value
    return float(grid[int(score.argmin())])


def fit_survival(
    x: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    x_test: np.ndarray,
    head: str,
    settings: SurvivalSettings,
    probe: ProbeSettings,
    seed: int,
    scaling: Scaling = PLAIN,
) -> tuple[SurvivalPrediction, list[str]]:
    """Fit a survival head on training patients and predict test patients.

    Parameters
    ----------
    x, time, event : ndarray, shapes (n, D), (n,), (n,)
        Training embeddings, days, and 1 for an event.
    x_test : ndarray, shape (m, D)
    head : {"discrete", "cox"}
    settings, probe : SurvivalSettings, ProbeSettings
    seed : int
    scaling : Scaling

    Returns
    -------
    prediction : SurvivalPrediction
        Risk is -sum of the survival function over bins (discrete) or the linear predictor (cox).
    notes : list of str
        Fallbacks that were taken.

    Raises
    ------
    TooFewEvents
        Fewer than two training events.
    """
    time, event = np.asarray(time, dtype=np.float64), np.asarray(event).astype(np.int64)
    events, notes = int(event.sum()), []
    if events < 2:
        raise TooFewEvents(f"{events} training events: no survival model can be fitted")
    grid, n_bins = sorted(probe.C), settings.bins
    if events < settings.min_events:
        notes.append(f"{events} training events (under {settings.min_events}): strongest penalty, at most 2 bins")
        grid, n_bins = grid[:1], min(n_bins, 2)
    published = head == "discrete" and probe.solver == "adam"
    at = time_grid(time)
    if not published:
        scaler = Standardiser.fit(x, scaling)
        x, x_test = scaler(x), scaler(x_test)
    if head == "cox":

        def held_out(a, b, train, test, C, first):  # Verweij and van Houwelingen's cross-validated likelihood
            w = fit_cox(a, time[train], event[train], C, INNER_TOL, first)
            both = np.r_[train, test]
            eta = np.r_[a @ w, b @ w]
            return cox_loss(eta, time[both], event[both])[0] - cox_loss(a @ w, time[train], event[train])[0], w

        w = fit_cox(x, time, event, _choose(x, event, held_out, grid, probe.inner_folds, seed))
        eta, risk = x @ w, x_test @ w
        base = breslow(eta, time, event, at)
        # Far from the training patients exp() could overflow; a hazard ratio of e^20 is certain death anyway.
        survival = np.exp(-np.outer(np.exp(np.clip(risk, -50, 20)), base))
        return SurvivalPrediction(risk, float(np.median(eta)), at, survival), notes
    edges = time_bins(time, event, n_bins)
    if len(edges) + 1 < n_bins:
        notes.append(f"time bins collapse: {len(edges) + 1} of {n_bins} are left")
    bins, n_bins = assign_bins(time, edges), len(edges) + 1
    if published:
        logits, logits_test = _adam_hazards(x, x_test, bins, event, n_bins, probe, seed)
    else:

        def held_out(a, b, train, test, C, first):
            w = fit_hazards(a, bins[train], event[train], n_bins, C, INNER_TOL, first)
            return nll_discrete(b @ w[:-1] + w[-1], bins[test], event[test]) * len(test), w

        strata = bins * 2 + event if np.unique(bins * 2 + event, return_counts=True)[1].min() > 1 else event
        w = fit_hazards(x, bins, event, n_bins, _choose(x, strata, held_out, grid, probe.inner_folds, seed))
        logits, logits_test = x @ w[:-1] + w[-1], x_test @ w[:-1] + w[-1]
    h, h_test = expit(logits), expit(logits_test)
    risk, risk_test = (-np.cumprod(1 - v, axis=1).sum(axis=1) for v in (h, h_test))
    curve = curve_from_hazards(h_test, edges, float(time.max()), at)
    return SurvivalPrediction(risk_test, float(np.median(risk)), at, curve), notes


def _adam_hazards(x, x_test, bins, event, n_bins: int, probe: ProbeSettings, seed: int):
    """The published survival probe: Adam on the discrete-time NLL."""
    import torch

    step = torch.arange(n_bins)
    at_risk = step <= torch.as_tensor(bins)[:, None]
    target = ((step == torch.as_tensor(bins)[:, None]) & (torch.as_tensor(event) == 1)[:, None]).float()

    def loss(logits, rows):
        h = torch.sigmoid(logits).clamp(CLAMP, 1 - CLAMP)
        terms = target[rows] * h.log() + (1 - target[rows]) * (1 - h).log()
        return -(terms * at_risk[rows]).sum(1).mean()

    return adam_linear(x, x_test, n_bins, loss, probe.lr_survival, probe, seed)
