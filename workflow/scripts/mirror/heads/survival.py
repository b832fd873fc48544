"""Survival heads: discrete-time hazards on training-quantile bins, and ridge Cox.

Both are convex, fitted by L-BFGS with exact gradients, and choose their penalty inside the
training patients. Documented fallbacks, so that no fold ends in NaN:

- fewer than two training events: the fold is left out with a reason (`TooFewEvents`);
- fewer than ``min_events`` training events: the strongest penalty is taken without a choice,
  and at most two time bins are used;
- quantiles that coincide: equal edges are merged, which leaves fewer bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator

from ..config.evaluation import ProbeSettings, SurvivalSettings
from .adam import apply_linear, fit_adam_linear
from .cox import breslow, cox_loss, fit_cox
from .hazards import assign_bins, curve_from_hazards, fit_hazards, nll_discrete, time_bins
from .scaling import PLAIN, Scaling, Standardiser, inner_folds

GRID_POINTS = 32
COX_EXTRA = (3e-5, 3e-4)
"""Penalties that a Cox grid has beside those of the other heads."""
INNER_TOL = 1e-3
"""Gradient at which fits that only choose a penalty stop."""


class NoModel(ValueError):
    """The training patients do not allow a model; the message says why. The fold is left out and the run goes on."""


class TooFewEvents(NoModel):
    """A fold whose training patients have too few events for any survival model."""


@dataclass(frozen=True)
class SurvivalPrediction:
    """What a survival head says about patients.

    Attributes
    ----------
    risk : ndarray of float64, shape (m,)
        One risk per patient, larger is worse.
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


def outcome(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Times (days) and events (1 or 0) as one structured array, as scikit-survival has them."""
    time, event = np.asarray(time, dtype=np.float64), np.asarray(event).astype(np.int64) == 1
    y = np.empty(len(time), dtype=[("event", bool), ("time", np.float64)])
    y["event"], y["time"] = event, time
    return y


def time_grid(time: np.ndarray, points: int = GRID_POINTS) -> np.ndarray:
    """Times (days) at which survival curves are stored: quantiles of the training times."""
    return np.unique(np.quantile(time, np.linspace(0, 1, points)))


def require_events(event: np.ndarray) -> int:
    """The number of training events.

    Raises
    ------
    TooFewEvents
        Fewer than two.
    """
    events = int(np.sum(event))
    if events < 2:
        raise TooFewEvents(f"{events} training events: no survival model can be fitted")
    return events


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


def penalties(head: str, settings: SurvivalSettings, probe: ProbeSettings) -> list[float]:
    """The grid of inverse penalties of a head, rising; few events often want Cox's strongest."""
    if head != "cox":
        return sorted(probe.C)
    if settings.cox_C is not None:
        return sorted(settings.cox_C)
    return sorted({*probe.C, *COX_EXTRA}) if len(probe.C) > 1 else list(probe.C)


class SurvivalHead(BaseEstimator):
    """What survival heads share.

    Parameters
    ----------
    settings : SurvivalSettings, optional
        Time bins, and the number of events below which nothing is chosen.
    probe : ProbeSettings, optional
        Grid of penalties, inner folds, solver.
    seed : int
    scaling : Scaling

    Attributes
    ----------
    times_ : ndarray of float64, shape (T,)
        Days at which survival curves are given by default.
    threshold_ : float
        Median risk of the training patients.
    penalty_ : float
        The chosen C; NaN where none was chosen.
    scaler_ : Standardiser or None
    notes_ : list of str
        Fallbacks that were taken.
    """

    kind = ""

    def __init__(
        self,
        settings: SurvivalSettings | None = None,
        probe: ProbeSettings | None = None,
        seed: int = 0,
        scaling: Scaling = PLAIN,
    ) -> None:
        self.settings, self.probe, self.seed, self.scaling = settings, probe, seed, scaling

    def fit(self, X: np.ndarray, y: np.ndarray) -> SurvivalHead:
        """Fit on training features (n, D) and outcomes (n,), see `outcome`.

        Raises
        ------
        TooFewEvents
            Fewer than two training events.
        """
        settings, probe = self.settings or SurvivalSettings(), self.probe or ProbeSettings()
        time, event = y["time"], y["event"].astype(np.int64)
        events = require_events(event)
        self.notes_: list[str] = []
        self.penalty_, self.scaler_ = float("nan"), None
        grid, n_bins = penalties(self.kind, settings, probe), settings.bins
        if events < settings.min_events:
            few = f"{events} training events (under {settings.min_events})"
            self.notes_.append(f"{few}: strongest penalty, at most 2 bins")
            grid, n_bins = grid[:1], min(n_bins, 2)
        self.times_ = time_grid(time)
        self.threshold_ = float(np.median(self._fit(X, time, event, grid, n_bins, probe)))
        return self

    def _fit(self, X, time, event, grid: list[float], n_bins: int, probe: ProbeSettings) -> np.ndarray:
        """Fit and return the risks of the training patients."""
        raise NotImplementedError

    def predict_risk(self, X: np.ndarray) -> np.ndarray:
        """One risk per row, float64 (m,); larger is worse."""
        raise NotImplementedError

    def predict_survival(self, X: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
        """Probability of surviving beyond each time in days (``times_`` by default), float64 (m, T)."""
        raise NotImplementedError

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The risks, as scikit-survival's estimators give them."""
        return self.predict_risk(X)

    def prediction(self, X: np.ndarray) -> SurvivalPrediction:
        """Risks and survival curves, with the threshold of the training patients."""
        return SurvivalPrediction(self.predict_risk(X), self.threshold_, self.times_, self.predict_survival(X))

    def to_dict(self) -> dict[str, Any]:
        """The fitted model as plain data, for JSON: coefficients of the standardised, unrotated features."""
        return {
            "kind": self.kind,
            "times": self.times_.tolist(),
            "threshold": self.threshold_,
            "penalty": None if np.isnan(self.penalty_) else self.penalty_,
            "scaler": None if self.scaler_ is None else self.scaler_.to_dict(),
            "notes": list(self.notes_),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SurvivalHead:
        """A head that predicts as the one that was stored, up to rounding."""
        head = cls()
        head.times_, head.threshold_ = np.array(data["times"], dtype=np.float64), data["threshold"]
        head.penalty_ = float("nan") if data["penalty"] is None else data["penalty"]
        head.scaler_ = None if data["scaler"] is None else Standardiser.from_dict(data["scaler"])  # type: ignore[assignment]
        head.notes_ = list(data["notes"])
        return head


class CoxHead(SurvivalHead):
    """Ridge Cox regression; the risk is the linear predictor.

    Further attributes: ``coef_`` (D,), of the standardised and possibly rotated features, and ``baseline_`` (T,),
    Breslow's cumulative baseline hazard at ``times_``.
    """

    kind = "cox"

    def _fit(self, X, time, event, grid: list[float], n_bins: int, probe: ProbeSettings) -> np.ndarray:
        self.scaler_ = Standardiser.fit(X, self.scaling)  # type: ignore[assignment]
        x = self.scaler_(X)  # type: ignore[misc]

        def held_out(a, b, train, test, C, first):  # Verweij and van Houwelingen's cross-validated likelihood
            w = fit_cox(a, time[train], event[train], C, INNER_TOL, first)
            both = np.r_[train, test]
            eta = np.r_[a @ w, b @ w]
            return cox_loss(eta, time[both], event[both])[0] - cox_loss(a @ w, time[train], event[train])[0], w

        self.penalty_ = _choose(x, event, held_out, grid, probe.inner_folds, self.seed)
        self.coef_ = fit_cox(x, time, event, self.penalty_)
        eta = x @ self.coef_
        self.baseline_ = breslow(eta, time, event, self.times_)
        return eta

    def predict_risk(self, X: np.ndarray) -> np.ndarray:
        """The linear predictor, float64 (m,)."""
        return self.scaler_(X) @ self.coef_  # type: ignore[misc]

    def predict_survival(self, X: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
        """See `SurvivalHead.predict_survival`; between ``times_`` the baseline hazard is that of the time before."""
        base = self.baseline_
        if times is not None:
            base = np.r_[0.0, base][np.searchsorted(self.times_, times, side="right")]
        # Far from the training patients exp() could overflow; a hazard ratio of e^20 is certain death anyway.
        return np.exp(-np.outer(np.exp(np.clip(self.predict_risk(X), -50, 20)), base))

    def to_dict(self) -> dict[str, Any]:
        """See `SurvivalHead.to_dict`."""
        coef = self.scaler_.unrotate(self.coef_)  # type: ignore[attr-defined]
        return super().to_dict() | {"coef": coef.tolist(), "baseline": self.baseline_.tolist()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CoxHead:
        """See `SurvivalHead.from_dict`."""
        head = super().from_dict(data)
        head.coef_, head.baseline_ = (np.array(data[key], dtype=np.float64) for key in ("coef", "baseline"))
        return head


class DiscreteHead(SurvivalHead):
    """Discrete-time hazards on time bins; the risk is minus the sum of the survival function over bins.

    Further attributes: ``coef_`` (D, bins), ``intercept_`` (bins,), the bins' inner edges ``edges_`` (days) and
    the last training time ``end_`` (days). ``probe.solver: adam`` is the published recipe.
    """

    kind = "discrete"

    def _fit(self, X, time, event, grid: list[float], n_bins: int, probe: ProbeSettings) -> np.ndarray:
        self.edges_, self.end_ = time_bins(time, event, n_bins), float(time.max())
        if len(self.edges_) + 1 < n_bins:
            self.notes_.append(f"time bins collapse: {len(self.edges_) + 1} of {n_bins} are left")
        bins, n_bins = assign_bins(time, self.edges_), len(self.edges_) + 1
        if probe.solver == "adam":
            weight, self.intercept_ = self._fit_adam(X, bins, event, n_bins, probe)
            self.coef_ = weight.T
        else:
            self.scaler_ = Standardiser.fit(X, self.scaling)  # type: ignore[assignment]
            x = self.scaler_(X)  # type: ignore[misc]

            def held_out(a, b, train, test, C, first):
                w = fit_hazards(a, bins[train], event[train], n_bins, C, INNER_TOL, first)
                return nll_discrete(b @ w[:-1] + w[-1], bins[test], event[test]) * len(test), w

            strata = bins * 2 + event if np.unique(bins * 2 + event, return_counts=True)[1].min() > 1 else event
            self.penalty_ = _choose(x, strata, held_out, grid, probe.inner_folds, self.seed)
            w = fit_hazards(x, bins, event, n_bins, self.penalty_)
            self.coef_, self.intercept_ = w[:-1], w[-1]
        return self.predict_risk(X)

    def _fit_adam(self, X, bins, event, n_bins: int, probe: ProbeSettings) -> tuple[np.ndarray, np.ndarray]:
        import torch

        from .hazard_loss import nll_survival

        where, died = torch.as_tensor(bins), torch.as_tensor(event)
        loss = lambda logits, rows: nll_survival(logits, where[rows], died[rows])  # noqa: E731
        return fit_adam_linear(X, n_bins, loss, probe.lr_survival, probe, self.seed)

    def predict_hazards(self, X: np.ndarray) -> np.ndarray:
        """Hazard of each time bin, float64 (m, bins)."""
        if self.scaler_ is None:
            return expit(apply_linear(self.coef_.T, self.intercept_, X))
        return expit(self.scaler_(X) @ self.coef_ + self.intercept_)

    def predict_risk(self, X: np.ndarray) -> np.ndarray:
        """Minus the sum of the survival function over bins, float64 (m,)."""
        return -np.cumprod(1 - self.predict_hazards(X), axis=1).sum(axis=1)

    def predict_survival(self, X: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
        """See `SurvivalHead.predict_survival`; linear between the bins' edges."""
        at = self.times_ if times is None else np.asarray(times, dtype=np.float64)
        return curve_from_hazards(self.predict_hazards(X), self.edges_, self.end_, at)

    def to_dict(self) -> dict[str, Any]:
        """See `SurvivalHead.to_dict`."""
        coef = self.coef_ if self.scaler_ is None else self.scaler_.unrotate(self.coef_)
        more = {"coef": coef.tolist(), "intercept": self.intercept_.tolist(), "edges": self.edges_.tolist()}
        return super().to_dict() | more | {"end": self.end_}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DiscreteHead:
        """See `SurvivalHead.from_dict`."""
        head = super().from_dict(data)
        for key in ("coef", "intercept", "edges"):
            setattr(head, f"{key}_", np.array(data[key], dtype=np.float64))
        head.end_ = data["end"]
        return head


HEADS = {head.kind: head for head in (CoxHead, DiscreteHead)}


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
    """Fit the survival head ``head`` ("discrete" or "cox") on training patients and predict test patients.

    Parameters
    ----------
    x, time, event : ndarray, shapes (n, D), (n,), (n,)
        Training embeddings, days, and 1 for an event.
    x_test : ndarray, shape (m, D)
    head, settings, probe, seed, scaling
        See `SurvivalHead`.

    Returns
    -------
    prediction : SurvivalPrediction
    notes : list of str
        Fallbacks that were taken.

    Raises
    ------
    TooFewEvents
        Fewer than two training events.
    """
    model = HEADS[head](settings, probe, seed, scaling).fit(x, outcome(time, event))
    return model.prediction(x_test), model.notes_
