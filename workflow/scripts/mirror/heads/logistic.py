"""Logistic regression on frozen embeddings: a solver that converges, or the published Adam recipe."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.extmath import softmax

from ..config.evaluation import ProbeSettings
from .adam import apply_linear, fit_adam_linear
from .scaling import PLAIN, Scaling, Standardiser, inner_folds


@dataclass(frozen=True)
class ClassPrediction:
    """What a classifier says about patients.

    Attributes
    ----------
    classes : list of str, length K
    probabilities : ndarray of float64, shape (m, K)
    """

    classes: list[str]
    probabilities: np.ndarray


def _logistic(x: np.ndarray, y: np.ndarray, C: float) -> LogisticRegression:
    model = LogisticRegression(C=C, max_iter=2000, tol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return model.fit(x, y)
        except ConvergenceWarning:
            pass
    return LogisticRegression(C=C, max_iter=20000, tol=1e-4).fit(x, y)


def choose_c(x: np.ndarray, y: np.ndarray, settings: ProbeSettings, seed: int) -> float:
    """The penalty with the least log loss over inner folds of the training patients.

    Without inner folds (a class with one member) the strongest penalty is taken: it can
    overfit least. ``x`` comes standardised (over all training patients) and possibly rotated,
    and is not standardised again: that would whiten rotated coordinates.
    """
    grid = sorted(settings.C)
    splits = inner_folds(y, settings.inner_folds, seed)
    if len(grid) == 1 or not splits:
        return grid[0]
    losses = np.zeros((len(splits), len(grid)))
    for row, (train, test) in enumerate(splits):
        model = LogisticRegression(max_iter=2000, tol=1e-3, warm_start=True)  # along the path of penalties
        for column, C in enumerate(grid):
            model.set_params(C=C).fit(x[train], y[train])
            p = model.predict_proba(x[test])
            position = {name: k for k, name in enumerate(model.classes_)}
            truth = p[np.arange(len(test)), [position[name] for name in y[test]]]
            losses[row, column] = -np.log(np.clip(truth, 1e-12, None)).mean()
    return float(grid[int(losses.mean(axis=0).argmin())])


class LogisticHead(ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression whose penalty is chosen by inner cross-validation.

    Parameters
    ----------
    settings : ProbeSettings, optional
        Grid of penalties, inner folds, solver.
    seed : int
        Seed of the inner folds (lbfgs), or of weights and batches (adam).
    scaling : Scaling

    Attributes
    ----------
    classes_ : ndarray of str, shape (K,)
        Sorted classes of the training patients.
    coef_, intercept_ : ndarray, shapes (1, D) and (1,) for two classes (lbfgs), else (K, D) and (K,)
        Of the standardised and possibly rotated features; no rows for a single class.
    scaler_ : Standardiser or None
        None for adam, which takes embeddings as they are.
    penalty_ : float
        The chosen C; NaN where none was chosen.
    notes_ : list of str
        Fallbacks that were taken.
    """

    def __init__(self, settings: ProbeSettings | None = None, seed: int = 0, scaling: Scaling = PLAIN) -> None:
        self.settings, self.seed, self.scaling = settings, seed, scaling

    def fit(self, X: np.ndarray, y: np.ndarray) -> LogisticHead:
        """Fit on training features (n, D) and labels (n,)."""
        settings = self.settings or ProbeSettings()
        y = np.asarray(y).astype(str)
        self.classes_ = np.array(sorted(set(y)))
        self.scaler_, self.penalty_, self.notes_ = None, float("nan"), []
        if len(self.classes_) == 1:  # nothing to learn; the only class known is predicted
            self.coef_, self.intercept_ = np.zeros((0, np.shape(X)[1])), np.zeros(0)
            self.notes_.append("training patients are of one class")
            return self
        if settings.solver == "adam":
            self.coef_, self.intercept_ = self._fit_adam(X, y, settings)
            return self
        self.scaler_ = Standardiser.fit(X, self.scaling)
        a = self.scaler_(X)
        if len(settings.C) > 1 and np.unique(y, return_counts=True)[1].min() < 2:
            self.notes_.append("a class has one training patient: strongest penalty, not chosen")
        self.penalty_ = choose_c(a, y, settings, self.seed)
        model = _logistic(a, y, self.penalty_)
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        return self

    def _fit_adam(self, X: np.ndarray, y: np.ndarray, settings: ProbeSettings) -> tuple[np.ndarray, np.ndarray]:
        import torch

        target = torch.as_tensor(np.searchsorted(self.classes_, y))
        criterion = torch.nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
        loss = lambda z, rows: criterion(z, target[rows])  # noqa: E731
        return fit_adam_linear(X, len(self.classes_), loss, settings.lr_subtyping, settings, self.seed)

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Logits, float64 (n, 1) for two classes (lbfgs) or (n, K)."""
        if self.scaler_ is None:
            return apply_linear(self.coef_, self.intercept_, X)
        return self.scaler_(X) @ self.coef_.T + self.intercept_

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities, float64 (n, K), in the order of ``classes_``."""
        if len(self.classes_) == 1:
            return np.ones((len(X), 1))
        logits = self.decision_function(X)
        if logits.shape[1] > 1:
            return softmax(logits, copy=False)
        p = expit(logits[:, 0])
        return np.stack([1 - p, p], axis=1)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The most probable class of each row."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def prediction(self, X: np.ndarray) -> ClassPrediction:
        """Classes and probabilities of each row."""
        return ClassPrediction(self.classes_.tolist(), self.predict_proba(X))

    def to_dict(self) -> dict[str, Any]:
        """The fitted model as plain data, for JSON: coefficients of the standardised, unrotated features."""
        scaler = self.scaler_
        return {
            "kind": "logistic",
            "classes": self.classes_.tolist(),
            "coef": (self.coef_ if scaler is None else scaler.unrotate(self.coef_.T).T).tolist(),
            "intercept": self.intercept_.tolist(),
            "scaler": None if scaler is None else scaler.to_dict(),
            "penalty": None if np.isnan(self.penalty_) else self.penalty_,
            "notes": list(self.notes_),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LogisticHead:
        """A head that predicts as the one that was stored, up to rounding."""
        head = cls()
        head.classes_ = np.array(data["classes"], dtype=str)
        head.coef_ = np.array(data["coef"], dtype=np.float64)
        head.intercept_ = np.array(data["intercept"], dtype=np.float64)
        head.scaler_ = None if data["scaler"] is None else Standardiser.from_dict(data["scaler"])
        head.penalty_ = float("nan") if data["penalty"] is None else data["penalty"]
        head.notes_ = list(data["notes"])
        return head


def fit_logistic(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, settings: ProbeSettings, seed: int, scaling: Scaling = PLAIN
) -> tuple[list[str], np.ndarray]:
    """Fit a `LogisticHead` on ``x`` (n, D) and ``y`` (n,) and predict ``x_test`` (m, D).

    Returns
    -------
    classes : list of str
    probabilities : ndarray of float64, shape (m, K)
    """
    head = LogisticHead(settings, seed, scaling).fit(x, y)
    return head.classes_.tolist(), head.predict_proba(x_test)
