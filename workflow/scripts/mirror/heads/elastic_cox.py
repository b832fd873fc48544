"""Elastic-net Cox, averaged over penalties by their cross-validated partial likelihood.

Some hundred events tell penalties apart poorly: the cross-validated partial likelihood [1]_ is flat and
noisy, and its minimum jumps with the draw of the inner folds, now and then to a model of one gene. So the
curve is averaged over repeated inner folds, and no single penalty is taken: the coefficients are averaged
with weights proportional to exp(cross-validated log partial likelihood), which is model averaging by
pseudo-likelihood [2]_. The default share of L1 is near ridge, which ranks patients by expression better
than sparse models do [3]_.

References
----------
.. [1] Verweij and van Houwelingen, Cross-validation in survival analysis, Statistics in Medicine
   12:2305-2314, 1993.
.. [2] Geisser and Eddy, A predictive approach to model selection, JASA 74:153-160, 1979.
.. [3] Bovelstad et al., Predicting survival from microarray data - a comparative study,
   Bioinformatics 23:2080-2087, 2007.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import softmax
from sksurv.linear_model import CoxnetSurvivalAnalysis
from sksurv.util import Surv

from ..config.evaluation import ProbeSettings, SurvivalSettings
from .cox import breslow, cox_loss
from .scaling import PLAIN, Scaling, Standardiser, inner_folds
from .survival import CoxHead, require_events, time_grid

SHRINK = np.geomspace(1.0, 0.02, 14)[1:]
"""Penalties, as shares of the smallest that leaves every gene out (itself no model: it ranks nobody)."""
REPEATS = 5
"""Draws of the inner folds."""
OVERFLOW = 50.0


def _path(x: np.ndarray, time: np.ndarray, event: np.ndarray, l1_ratio: float, alphas: np.ndarray) -> np.ndarray:
    """Coefficients along falling penalties, (D, len(alphas)); NaN from where descent diverges."""
    out = np.full((x.shape[1], len(alphas)), np.nan)
    for stop in range(len(alphas), 0, -1):
        model = CoxnetSurvivalAnalysis(
            l1_ratio=l1_ratio, alphas=alphas[:stop], max_iter=5000, tol=1e-5, normalize=False
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model.fit(x, Surv.from_arrays(event == 1, time))
            except (ArithmeticError, ValueError):  # the weakest penalty is too weak
                continue
        for k, alpha in enumerate(alphas[:stop]):
            out[:, k] = model.coef_[:, int(np.abs(model.alphas_ - alpha).argmin())]
        break
    return out


def _largest_alpha(x: np.ndarray, time: np.ndarray, event: np.ndarray, l1_ratio: float) -> float:
    """The smallest penalty at which every coefficient is zero (ridge shares are floored as in glmnet)."""
    gradient = cox_loss(np.zeros(len(x)), time, event)[1]
    return float(np.abs(x.T @ gradient).max() / len(x) / max(l1_ratio, 1e-2))


def _held_out_loss(
    x: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    paths: list[tuple[float, np.ndarray]],
    clip: Scaling,
    folds: int,
    seed: int,
) -> np.ndarray:
    """Cross-validated negative log partial likelihood of every (ratio, penalty), mean over repeats; NaN: no model.

    ``x`` is as given: each inner fold standardises it on its own training patients.
    """
    total = np.zeros(sum(len(alphas) for _, alphas in paths))
    for repeat in range(REPEATS):
        for train, test in inner_folds(event, folds, seed + repeat):
            inner = Standardiser.fit(x[train], clip, rotate=False)
            both, a = np.r_[train, test], inner(x[train])
            w = np.concatenate([_path(a, time[train], event[train], ratio, alphas) for ratio, alphas in paths], axis=1)
            eta = np.clip(inner(x[both]) @ w, -OVERFLOW, OVERFLOW)
            for k in range(w.shape[1]):
                if np.isnan(w[0, k]):
                    total[k] = np.nan
                    continue
                whole = cox_loss(eta[:, k], time[both], event[both])[0]
                total[k] += whole - cox_loss(eta[: len(train), k], time[train], event[train])[0]
    return total / REPEATS


def average_weights(loss: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Weights of the penalties: exp(-loss), normalised over those whose loss and coefficients (D, K) are known."""
    usable = np.isfinite(loss) & np.isfinite(w).all(axis=0)
    if not usable.any():
        return np.zeros(len(loss))
    return softmax(np.where(usable, -loss, -np.inf))


class ElasticCoxHead(CoxHead):
    """Elastic-net Cox regression, averaged over penalties; the risk is the linear predictor.

    Parameters
    ----------
    settings, probe, seed, scaling
        See `mirror.heads.survival.SurvivalHead`; ``probe`` gives the number of inner folds alone.
    l1_ratios : tuple of float
        Shares of L1 that are averaged over.

    Attributes
    ----------
    coef_ : ndarray of float64, shape (D,)
        Of the standardised features.
    """

    kind = "coxnet"

    def __init__(
        self,
        settings: SurvivalSettings | None = None,
        probe: ProbeSettings | None = None,
        seed: int = 0,
        scaling: Scaling = PLAIN,
        l1_ratios: tuple[float, ...] = (0.01,),
    ) -> None:
        super().__init__(settings, probe, seed, scaling)
        self.l1_ratios = l1_ratios

    def fit(self, X: np.ndarray, y: np.ndarray) -> ElasticCoxHead:
        """See `mirror.heads.survival.SurvivalHead.fit`."""
        time, event = y["time"], y["event"].astype(np.int64)
        events = require_events(event)
        settings, probe = self.settings or SurvivalSettings(), self.probe or ProbeSettings()
        self.notes_, self.penalty_ = [], float("nan")
        self.scaler_ = Standardiser.fit(X, self.scaling, rotate=False)  # type: ignore[assignment]
        a = self.scaler_(X)  # type: ignore[misc]
        ratios = sorted(self.l1_ratios)
        paths = [(ratio, _largest_alpha(a, time, event, ratio) * SHRINK) for ratio in ratios]
        w = np.concatenate([_path(a, time, event, ratio, alphas) for ratio, alphas in paths], axis=1)
        if events >= settings.min_events:
            loss = _held_out_loss(X, time, event, paths, self.scaling, probe.inner_folds, self.seed)
        else:  # too few events to tell penalties apart: all count the same
            loss = np.zeros(w.shape[1])
        self.coef_ = np.nan_to_num(w) @ average_weights(loss, w)
        self.times_, self.threshold_ = time_grid(time), float(np.median(a @ self.coef_))
        self.baseline_ = breslow(np.clip(a @ self.coef_, -OVERFLOW, OVERFLOW), time, event, self.times_)
        return self
