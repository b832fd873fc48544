"""Ridge regression of a number, its penalty chosen by inner cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from ..config.evaluation import ProbeSettings
from .scaling import PLAIN, Scaling, Standardiser


@dataclass(frozen=True)
class NumberPrediction:
    """What a regression says about patients.

    Attributes
    ----------
    value : ndarray of float64, shape (m,)
    """

    value: np.ndarray


def choose_ridge(x: np.ndarray, y: np.ndarray, settings: ProbeSettings, seed: int) -> float:
    """The inverse penalty with the least squared error over inner folds of the training patients.

    ``y`` comes with unit variance, so that one grid fits every target. With fewer than four patients the strongest
    penalty is taken.
    """
    grid = sorted(settings.C)
    if len(grid) == 1 or len(y) < 4:
        return grid[0]
    errors = np.zeros(len(grid))
    splitter = KFold(min(settings.inner_folds, len(y) // 2), shuffle=True, random_state=seed)
    for train, test in splitter.split(x):
        for place, C in enumerate(grid):
            model = Ridge(alpha=1 / C).fit(x[train], y[train])
            errors[place] += ((model.predict(x[test]) - y[test]) ** 2).sum()
    return float(grid[int(errors.argmin())])


class RidgeHead(RegressorMixin, BaseEstimator):
    """Ridge regression of standardised features.

    Parameters
    ----------
    settings : ProbeSettings, optional
        Grid of inverse penalties (the same ``C`` as of logistic regression: alpha is 1 / C for a target of unit
        variance) and inner folds.
    seed : int
        Seed of the inner folds.
    scaling : Scaling

    Attributes
    ----------
    coef_ : ndarray, shape (D,)
        Of the standardised and possibly rotated features, in the target's units.
    intercept_ : float
    scaler_ : Standardiser
    penalty_ : float
        The chosen C; NaN where the training values are all the same.
    notes_ : list of str
        Fallbacks that were taken.
    """

    def __init__(self, settings: ProbeSettings | None = None, seed: int = 0, scaling: Scaling = PLAIN) -> None:
        self.settings, self.seed, self.scaling = settings, seed, scaling

    def fit(self, X: np.ndarray, y: np.ndarray) -> RidgeHead:
        """Fit on training features (n, D) and values (n,)."""
        settings = self.settings or ProbeSettings()
        y = np.asarray(y, dtype=np.float64)
        self.scaler_ = Standardiser.fit(X, self.scaling)
        self.notes_: list[str] = []
        a, sd = self.scaler_(X), float(y.std())
        if not sd > 0:
            self.notes_.append("training values are all the same")
            self.coef_, self.intercept_, self.penalty_ = np.zeros(a.shape[1]), float(y.mean()), float("nan")
            return self
        z = (y - y.mean()) / sd
        self.penalty_ = choose_ridge(a, z, settings, self.seed)
        model = Ridge(alpha=1 / self.penalty_).fit(a, z)
        self.coef_, self.intercept_ = model.coef_ * sd, float(model.intercept_ * sd + y.mean())
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Values, float64 (n,)."""
        return self.scaler_(X) @ self.coef_ + self.intercept_

    def prediction(self, X: np.ndarray) -> NumberPrediction:
        """See `predict`."""
        return NumberPrediction(self.predict(X))

    def to_dict(self) -> dict[str, Any]:
        """The fitted model as plain data, for JSON: coefficients of the standardised, unrotated features."""
        return {
            "kind": "ridge",
            "coef": self.scaler_.unrotate(self.coef_).tolist(),
            "intercept": self.intercept_,
            "scaler": self.scaler_.to_dict(),
            "penalty": None if np.isnan(self.penalty_) else self.penalty_,
            "notes": list(self.notes_),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RidgeHead:
        """A head that predicts as the one that was stored, up to rounding."""
        head = cls()
        head.coef_, head.intercept_ = np.array(data["coef"], dtype=np.float64), float(data["intercept"])
        head.scaler_ = Standardiser.from_dict(data["scaler"])
        head.penalty_ = float("nan") if data["penalty"] is None else data["penalty"]
        head.notes_ = list(data["notes"])
        return head
