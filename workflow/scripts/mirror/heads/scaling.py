"""Standardising features and splitting training patients for inner validation."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scaling:
    """How features are standardised.

    Attributes
    ----------
    clip : float or None
        Bound of standardised features (for expression, whose outliers own a mean).
    weights : ndarray (D,) or None
        Factors of the standardised features: a larger one is penalised less.
    """

    clip: float | None = None
    weights: np.ndarray | None = None


PLAIN = Scaling()


@dataclass(frozen=True)
class Standardiser:
    """Mean and scale of the training patients, and a rotation onto the space they span.

    An L2-penalised linear model depends on its inputs through their inner products alone, so
    that n patients in D > n dimensions may be rotated to at most n coordinates without any
    change to the solution. Fits then cost the same for 768 and for 200,000 features.
    """

    mean: np.ndarray
    scale: np.ndarray
    rotation: np.ndarray | None
    how: Scaling = PLAIN

    @classmethod
    def fit(cls, x: np.ndarray, how: Scaling = PLAIN, rotate: bool = True) -> Standardiser:
        """Fit on training rows ``x``, float (n, D)."""
        x = np.asarray(x, dtype=np.float64)
        mean, scale = x.mean(axis=0), x.std(axis=0)
        # Columns that are constant but for rounding must not be blown up to unit variance.
        scale = np.where(scale > 1e-7 * np.maximum(1.0, np.abs(mean)), scale, np.inf)
        fitted = cls(mean, scale, None, how)
        if rotate and x.shape[1] > x.shape[0]:
            _, values, right = np.linalg.svd(fitted(x), full_matrices=False)
            rank = max(1, int((values > 1e-10 * max(values[0], 1e-300)).sum()))
            fitted = cls(mean, scale, right[:rank].T, how)
        return fitted

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Standardised (and rotated) rows, float64."""
        z = (np.asarray(x, dtype=np.float64) - self.mean) / self.scale
        if self.how.clip is not None:
            z = np.clip(z, -self.how.clip, self.how.clip)
        if self.how.weights is not None:
            z = z * self.how.weights
        return z if self.rotation is None else z @ self.rotation

    def unrotate(self, weights: np.ndarray) -> np.ndarray:
        """Coefficients of the standardised features, (D, ...), from those of the rotated ones."""
        return weights if self.rotation is None else self.rotation @ weights

    def to_dict(self) -> dict[str, Any]:
        """Plain data: lists and numbers. The rotation is left out; `unrotate` the coefficients that go with it."""
        return {
            "mean": self.mean.tolist(),
            # A constant column has an infinite scale, which JSON does not know.
            "scale": [float(value) if np.isfinite(value) else None for value in self.scale],
            "clip": self.how.clip,
            "weights": None if self.how.weights is None else np.asarray(self.how.weights, dtype=float).tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Standardiser:
        """The inverse of `to_dict`."""
        weights = None if data["weights"] is None else np.array(data["weights"], dtype=np.float64)
        scale = np.array([np.inf if value is None else value for value in data["scale"]], dtype=np.float64)
        return cls(np.array(data["mean"], dtype=np.float64), scale, None, Scaling(data["clip"], weights))


def inner_folds(labels: np.ndarray, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified folds inside the training patients; none when the rarest class has one member.

    Returns
    -------
    list of (train, test)
        Positions into ``labels``.
    """
    rarest = int(np.unique(labels, return_counts=True)[1].min())
    if rarest < 2:
        return []
    splitter = StratifiedKFold(min(folds, rarest), shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(labels)), labels))
