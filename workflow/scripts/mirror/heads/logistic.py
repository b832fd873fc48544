"""Linear models on frozen embeddings: a solver that converges, or the published Adam recipe."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from ..config.evaluation import ProbeSettings
from .adam import adam_linear
from .scaling import PLAIN, Scaling, Standardiser, inner_folds

log = logging.getLogger(__name__)


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
