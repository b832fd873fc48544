"""Linear models on frozen embeddings: a solver that converges, or the published Adam recipe."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from ..config.evaluation import ProbeSettings

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


def fit_logistic(
    x: np.ndarray,
    y: np.ndarray,
    x_test: np.ndarray,
    settings: ProbeSettings,
    seed: int,
    scaling: Scaling = PLAIN,
) -> tuple[list[str], np.ndarray]:
    """Multinomial logistic regression, penalty chosen inside the training patients.

    Parameters
    ----------
    x, y : ndarray, shapes (n, D) and (n,)
        Training embeddings and labels (str).
    x_test : ndarray, shape (m, D)
    settings : ProbeSettings
    seed : int
        Seed of the inner folds (lbfgs), or of weights and batches (adam).
    scaling : Scaling

    Returns
    -------
    classes : list of str
    probabilities : ndarray of float64, shape (m, C)
    """
    y = np.asarray(y).astype(str)
    classes = sorted(set(y))
    if len(classes) == 1:  # nothing to learn; the only class known is predicted
        return classes, np.ones((len(x_test), 1))
    if settings.solver == "adam":
        return classes, _adam_classes(x, y, x_test, classes, settings, seed)
    scaler = Standardiser.fit(x, scaling)
    a, b = scaler(x), scaler(x_test)
    model = _logistic(a, y, choose_c(a, y, settings, seed))
    return [str(name) for name in model.classes_], model.predict_proba(b)


def adam_linear(
    x: np.ndarray,
    x_test: np.ndarray,
    outputs: int,
    loss,
    lr: float,
    settings: ProbeSettings,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The published recipe: one linear layer, N(0, 0.01), Adam, fixed epochs, no penalty.

    Parameters
    ----------
    x, x_test : ndarray, shapes (n, D) and (m, D)
        Embeddings as they are (the published probe does not standardise).
    outputs : int
    loss : callable
        ``loss(logits (b, outputs), rows (b,) int64 tensor) -> scalar tensor``.
    lr : float

    Returns
    -------
    train, test : ndarray of float64
        Logits, shapes (n, outputs) and (m, outputs).
    """
    import torch

    draw = torch.Generator().manual_seed(seed)
    a = torch.as_tensor(np.asarray(x, dtype=np.float32))
    head = torch.nn.Linear(a.shape[1], outputs)
    torch.nn.init.zeros_(head.bias)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=draw) * 0.01)
    optimiser = torch.optim.Adam(head.parameters(), lr=lr)
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(a), generator=draw).split(settings.batch_size):
            optimiser.zero_grad()
            loss(head(a[rows]), rows).backward()
            optimiser.step()
    with torch.no_grad():
        test = head(torch.as_tensor(np.asarray(x_test, dtype=np.float32)))
        return head(a).double().numpy(), test.double().numpy()


def _adam_classes(x, y, x_test, classes: Sequence[str], settings: ProbeSettings, seed: int) -> np.ndarray:
    import torch

    target = torch.as_tensor(np.searchsorted(classes, y))
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    _, logits = adam_linear(
        x, x_test, len(classes), lambda z, rows: criterion(z, target[rows]), settings.lr_subtyping, settings, seed
    )
    logits = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)
