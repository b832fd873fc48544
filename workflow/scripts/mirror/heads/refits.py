"""What a linear head would have predicted after training on resampled training patients.

A cross-validated metric varies for two reasons: which patients are tested, and which patients trained
the models. A bootstrap over the test patients' predictions holds the models fixed and misses the second
reason, which is as large as the first where a method is at chance. Here the head is refitted on
resampled training patients by one Newton step from its solution: the response of a penalised convex
problem to its weights [1]_, whose cost for a hundred resamples is that of one linear solve.

The weights are Poisson(1) by patient. A patient's weights depend on the seed and the identifier alone,
so that all folds, methods and modalities resample the same patients, as differences of methods need.

References
----------
.. [1] Giordano et al., A Swiss army infinitesimal jackknife, AISTATS 2019.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from scipy.linalg import cho_factor, cho_solve, lstsq
from scipy.special import expit, softmax

from .hazards import BIAS_PENALTY, assign_bins
from .logistic import LogisticHead
from .ridge import RidgeHead
from .stored import Head
from .survival import CoxHead, DiscreteHead

MAX_UNKNOWNS = 3000
"""A head with more coefficients is not refitted: the solve would take longer than the fit."""
BIAS_RIDGE = 1e-6
Refit = Callable[[np.ndarray], np.ndarray]
"""Weights of the training patients (B, n) to predictions of the test patients, (B, m, ...)."""


@lru_cache(maxsize=65536)
def _draws_of(patient: str, seed: int, draws: int) -> np.ndarray:
    return np.random.default_rng([seed, zlib.crc32(patient.encode()), len(patient)]).poisson(1.0, draws)


def training_weights(patients: Sequence[str], seed: int, draws: int) -> np.ndarray:
    """How often each training patient is drawn in each resample.

    Parameters
    ----------
    patients : sequence of str, length n
    seed, draws : int

    Returns
    -------
    ndarray of float64, shape (draws, n)
    """
    columns = [_draws_of(str(patient), seed, draws) for patient in patients]
    return np.stack(columns, axis=1).astype(np.float64) if columns else np.zeros((draws, 0))


def _solve(hessian: np.ndarray, right: np.ndarray) -> np.ndarray:
    try:
        return cho_solve(cho_factor(hessian, check_finite=False), right, check_finite=False)
    except np.linalg.LinAlgError:
        return lstsq(hessian, right)[0]


def _with_bias(x: np.ndarray) -> np.ndarray:
    return np.c_[x, np.ones(len(x))]


def _binary_step(a: np.ndarray, target: np.ndarray, p: np.ndarray, at_risk: np.ndarray, C: float, bias: float):
    """Newton steps of one penalised logistic regression: function of (v - 1), shape (B, n), giving (B, D + 1)."""
    residual = (target - p) * at_risk
    ridge = np.full(a.shape[1], 1.0 / C)
    ridge[-1] = bias
    hessian = (a * (p * (1 - p) * at_risk)[:, None]).T @ a + np.diag(ridge)
    influence = _solve(hessian, (a * residual[:, None]).T)  # (D + 1, n): change of w a unit of weight
    return lambda more: more @ influence.T


def logistic_refit(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, coef: np.ndarray, intercept: np.ndarray, C: float
) -> Refit | None:
    """Refits of L2-penalised (multinomial) logistic regression.

    Parameters
    ----------
    x, x_test : ndarray, shapes (n, D), (m, D)
        As the model saw them.
    y : ndarray of int, shape (n,)
        Position of the class in the model's order.
    coef, intercept : ndarray
        scikit-learn's: (1, D) and (1,) for two classes, (K, D) and (K,) for more.
    C : float

    Returns
    -------
    callable or None
        (B, n) weights to probabilities (B, m, K); None where the problem is too large.
    """
    a, b = _with_bias(x), _with_bias(x_test)
    if len(coef) == 1:
        w = np.r_[coef[0], intercept[0]]
        step = _binary_step(a, y.astype(float), expit(a @ w), np.ones(len(a)), C, BIAS_RIDGE)

        def two(v: np.ndarray) -> np.ndarray:
            p = expit((w + step(v - 1)) @ b.T)
            return np.stack([1 - p, p], axis=-1)

        return two
    classes, width = coef.shape[0], a.shape[1]
    if classes * width > MAX_UNKNOWNS:
        return None
    w = np.c_[coef, intercept]
    p = softmax(a @ w.T, axis=1)
    hessian = np.empty((classes, width, classes, width))
    for i in range(classes):
        for j in range(classes):
            hessian[i, :, j, :] = (a * (p[:, i] * ((i == j) - p[:, j]))[:, None]).T @ a
    flat = hessian.reshape(classes * width, classes * width)
    ridge = np.full((classes, width), 1.0 / C)
    ridge[:, -1] = BIAS_RIDGE
    flat[np.diag_indices_from(flat)] += ridge.ravel()
    residual = np.eye(classes)[y] - p
    influence = _solve(flat, (residual[:, :, None] * a[:, None, :]).reshape(len(a), -1).T)

    def many(v: np.ndarray) -> np.ndarray:
        moved = w + ((v - 1) @ influence.T).reshape(-1, classes, width)
        return softmax(np.einsum("md,bkd->bmk", b, moved), axis=2)

    return many


def hazards_refit(
    x: np.ndarray, bins: np.ndarray, event: np.ndarray, x_test: np.ndarray, w: np.ndarray, C: float, bias: float
) -> Refit:
    """Refits of penalised discrete-time hazards: (B, n) weights to risks (B, m).

    Parameters
    ----------
    x, bins, event, x_test
        As `fit_hazards` saw them.
    w : ndarray, shape (D + 1, n_bins)
        The solution.
    C, bias : float
        Its penalties. The bins share no coefficient: each is a logistic regression of its own.
    """
    a, b = _with_bias(x), _with_bias(x_test)
    steps = []
    for k in range(w.shape[1]):
        target = ((bins == k) & (event == 1)).astype(float)
        steps.append(_binary_step(a, target, expit(a @ w[:, k]), (bins >= k).astype(float), C, bias))

    def refit(v: np.ndarray) -> np.ndarray:
        h = np.stack([expit((w[:, k] + step(v - 1)) @ b.T) for k, step in enumerate(steps)], axis=-1)
        return -np.cumprod(1 - h, axis=-1).sum(axis=-1)

    return refit


def cox_refit(x: np.ndarray, time: np.ndarray, event: np.ndarray, x_test: np.ndarray, w: np.ndarray, C: float) -> Refit:
    """Refits of ridge Cox regression (Breslow): (B, n) weights to linear predictors (B, m).

    A patient's influence is the score residual (Barlow and Prentice 1988) times the inverse penalised
    information.
    """
    order = np.argsort(-time, kind="stable")
    z, t, died = x[order], time[order], event[order] == 1
    share = np.exp(z @ w - (z @ w).max())
    last = np.searchsorted(-t, -t, side="right") - 1  # the risk set of row i is everyone up to its last tie
    s0 = np.cumsum(share)[last]
    mean = np.cumsum(share[:, None] * z, axis=0)[last] / s0[:, None]
    first = np.searchsorted(-t, -t, side="left")
    jump = np.where(died, 1.0 / s0, 0.0)
    # Events at a patient's time or before it, in whose risk sets the patient stands: rows from `first` on.
    hazard = np.cumsum(jump[::-1])[::-1][first]
    drift = np.cumsum((jump[:, None] * mean)[::-1], axis=0)[::-1][first]
    score = died[:, None] * (z - mean) - (share * hazard)[:, None] * z + share[:, None] * drift
    information = (z * (share * hazard)[:, None]).T @ z - mean[died].T @ mean[died]
    information[np.diag_indices_from(information)] += 1.0 / C
    influence = np.empty((x.shape[1], len(x)))
    influence[:, order] = _solve(information, score.T)
    return lambda v: (w + (v - 1) @ influence.T) @ x_test.T


def ridge_refit(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, w: np.ndarray, intercept: float, C: float) -> Refit:
    """Refits of ridge regression: (B, n) weights to values (B, m).

    Parameters
    ----------
    x, y, x_test
        As the model saw them, ``y`` in its units.
    w, intercept
        The solution.
    C : float
        Inverse penalty: half the squared error plus the squared coefficients over 2 C.
    """
    a, b = _with_bias(x), _with_bias(x_test)
    solution = np.r_[w, intercept]
    ridge = np.full(a.shape[1], 1.0 / C)
    ridge[-1] = BIAS_RIDGE
    influence = _solve(a.T @ a + np.diag(ridge), (a * (y - a @ solution)[:, None]).T)
    return lambda v: (solution + (v - 1) @ influence.T) @ b.T


def refit_of(model: Head, x: np.ndarray, y: np.ndarray, x_test: np.ndarray) -> Refit | None:
    """Refits of a fitted head.

    Parameters
    ----------
    model : LogisticHead or SurvivalHead
    x, y : ndarray, shapes (n, D), (n,)
        What it was fitted on.
    x_test : ndarray, shape (m, D)

    Returns
    -------
    callable or None
        (B, n) weights to probabilities (B, m, K) or risks (B, m). None where the head is no penalised convex
        problem (`adam`; one class), or is too large.
    """
    scaler = getattr(model, "scaler_", None)
    if scaler is None or not np.isfinite(model.penalty_):
        return None
    a, b, C = scaler(x), scaler(x_test), model.penalty_
    if isinstance(model, LogisticHead):
        place = np.searchsorted(model.classes_, np.asarray(y).astype(str))
        return logistic_refit(a, place, b, model.coef_, model.intercept_, C)
    if isinstance(model, RidgeHead):
        return ridge_refit(a, np.asarray(y, dtype=float), b, model.coef_, model.intercept_, C)
    time, event = y["time"], y["event"].astype(int)
    if isinstance(model, CoxHead):
        return cox_refit(a, time, event, b, model.coef_, C)
    if isinstance(model, DiscreteHead):
        w = np.vstack([model.coef_, model.intercept_])
        return hazards_refit(a, assign_bins(time, model.edges_), event, b, w, C, BIAS_PENALTY)
    return None
