"""Cox regression: partial likelihood, ridge fit, baseline hazard (Breslow's handling of ties)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize


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
