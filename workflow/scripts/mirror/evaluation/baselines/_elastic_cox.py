"""Elastic-net Cox with the penalty chosen by cross-validated partial likelihood."""

from __future__ import annotations

import warnings

import numpy as np
from sksurv.linear_model import CoxnetSurvivalAnalysis
from sksurv.util import Surv

from ...config.evaluation import EvaluationSettings
from ..probe import Scaling, Standardiser, inner_folds
from ..survival import SurvivalPrediction, TooFewEvents, breslow, cox_loss, time_grid

SHRINK = np.geomspace(1.0, 0.05, 12)
"""Penalties tried, as shares of the smallest penalty that leaves every gene out."""
OVERFLOW = 50.0


def _path(x: np.ndarray, time: np.ndarray, event: np.ndarray, l1_ratio: float, alphas: np.ndarray) -> np.ndarray:
    """Coefficients along the penalties, (D, len(alphas)); columns stay 0 from where descent failed."""
    model = CoxnetSurvivalAnalysis(l1_ratio=l1_ratio, alphas=alphas, max_iter=5000, tol=1e-5, normalize=False)
    out = np.zeros((x.shape[1], len(alphas)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(x, Surv.from_arrays(event == 1, time))
        except (ArithmeticError, ValueError):  # descent diverged: the model without genes stands
            return out
    for k, alpha in enumerate(alphas):
        near = int(np.abs(model.alphas_ - alpha).argmin())
        out[:, k] = model.coef_[:, near]
    return out


def _largest_alpha(x: np.ndarray, time: np.ndarray, event: np.ndarray, l1_ratio: float) -> float:
    """The smallest penalty at which every coefficient is zero (ridge shares are floored as in glmnet)."""
    gradient = cox_loss(np.zeros(len(x)), time, event)[1]
    return float(np.abs(x.T @ gradient).max() / len(x) / max(l1_ratio, 1e-2))


def fit_elastic_cox(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, x_test: np.ndarray, settings: EvaluationSettings, seed: int
) -> SurvivalPrediction:
    """Fit on training patients, predict test patients.

    Parameters
    ----------
    x, time, event : ndarray, shapes (n, G), (n,), (n,)
    x_test : ndarray, shape (m, G)
    settings : EvaluationSettings
    seed : int

    Returns
    -------
    SurvivalPrediction
        Risk is the linear predictor.

    Raises
    ------
    TooFewEvents
        Fewer than two training events.
    """
    if event.sum() < 2:
        raise TooFewEvents(f"{int(event.sum())} training events: no survival model can be fitted")
    clip = Scaling(settings.baseline.clip)
    scaler = Standardiser.fit(x, clip, rotate=False)
    a, b = scaler(x), scaler(x_test)
    ratios = sorted(settings.baseline.cox_l1_ratio)
    enough = event.sum() >= settings.survival.min_events
    splits = inner_folds(event, settings.probe.inner_folds, seed) if enough else []
    top = {ratio: _largest_alpha(a, time, event, ratio) for ratio in ratios}
    score = {ratio: np.zeros(len(SHRINK)) for ratio in ratios}
    for train, test in splits:
        inner = Standardiser.fit(x[train], clip, rotate=False)
        fitted, both = inner(x[train]), np.r_[train, test]
        everybody = inner(x[both])
        for ratio in ratios:
            w = _path(fitted, time[train], event[train], ratio, top[ratio] * SHRINK)
            eta = np.clip(everybody @ w, -OVERFLOW, OVERFLOW)
            for k in range(len(SHRINK)):
                whole = cox_loss(eta[:, k], time[both], event[both])[0]
                score[ratio][k] += whole - cox_loss(eta[: len(train), k], time[train], event[train])[0]
    ratio = min(ratios, key=lambda r: score[r].min())
    # Without a choice (too few events) the middle of the path; a model without genes ranks nobody,
    # so that the first penalty below the largest is the strongest one taken.
    place = max(1, int(score[ratio].argmin())) if splits else len(SHRINK) // 2
    w = _path(a, time, event, ratio, top[ratio] * SHRINK[: place + 1])[:, -1]
    eta, risk = np.clip(a @ w, -OVERFLOW, OVERFLOW), np.clip(b @ w, -OVERFLOW, 20.0)
    at = time_grid(time)
    survival = np.exp(-np.outer(np.exp(risk), breslow(eta, time, event, at)))
    return SurvivalPrediction(b @ w, float(np.median(a @ w)), at, survival)
