"""Supervised training on bags of patches: shared by ABMIL and TransMIL."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ..dataset.patches import Slides
from ..heads.hazard_loss import nll_survival
from ..heads.hazards import assign_bins, curve_from_hazards, time_bins
from ..heads.survival import require_events, time_grid
from .fold_data import FoldData

log = logging.getLogger(__name__)
BAGS_A_STEP = 8


class Objective:
    """Loss of a task and the way from logits to predictions, fitted on training patients."""

    def __init__(self, fold: FoldData, train) -> None:
        self.task = fold.task
        if fold.task == "subtyping":
            self.classes = sorted(set(train["label"].astype(str)))
            self.outputs = len(self.classes)
            self.target = torch.as_tensor(np.searchsorted(self.classes, train["label"].to_numpy(str)))
            count = torch.bincount(self.target, minlength=self.outputs).float()
            # Classes weigh the same, so that a rare one is not given up in a short training.
            self.class_weight = count.sum() / (self.outputs * count)
            return
        self.time, event = fold.outcome(train)
        few = require_events(event) < fold.settings.survival.min_events
        if few:
            fold.notes.append(f"{int(event.sum())} training events: at most 2 time bins")
        self.edges = time_bins(
            self.time, event, min(2, fold.settings.survival.bins) if few else fold.settings.survival.bins
        )
        self.outputs = len(self.edges) + 1
        self.bins, self.event = torch.as_tensor(assign_bins(self.time, self.edges)), torch.as_tensor(event)

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Weighted cross-entropy, or the discrete-time negative log likelihood, of training ``rows``."""
        if self.task == "subtyping":
            return nn.functional.cross_entropy(logits, self.target[rows], self.class_weight)
        return nll_survival(logits, self.bins[rows], self.event[rows])

    def rows(self, fold: FoldData, test, logits_train: np.ndarray, logits_test: np.ndarray):
        """Prediction rows of test patients."""
        if self.task == "subtyping":
            p = np.exp(logits_test - logits_test.max(axis=1, keepdims=True))
            return fold.class_rows(test, self.classes, p / p.sum(axis=1, keepdims=True))
        h_train, h = (1 / (1 + np.exp(-np.clip(z, -30, 30))) for z in (logits_train, logits_test))
        at = time_grid(self.time)
        risk_train, risk = (-np.cumprod(1 - v, axis=1).sum(axis=1) for v in (h_train, h))
        curve = curve_from_hazards(h, self.edges, float(self.time.max()), at)
        return fold.risk_rows(test, risk, float(np.median(risk_train)), at, curve)


def train_bags(
    fold: FoldData, slides: Slides, train, test, build: Callable[[int, int], nn.Module]
) -> tuple[Objective, np.ndarray, np.ndarray]:
    """Train a model of bags for the settings' number of epochs; no epoch is chosen.

    Parameters
    ----------
    fold : FoldData
    slides : Slides
    train, test : DataFrame
    build : callable
        ``build(feature_width, outputs)`` gives a module from bags, Tensor (B, N, D), to logits
        (B, outputs).

    Returns
    -------
    objective : Objective
    train, test : ndarray of float64
        Logits of the training patients (for the risk threshold) and the test patients.
    """
    settings = fold.settings.baseline
    objective = Objective(fold, train)
    torch.manual_seed(fold.seed)
    rng = np.random.default_rng(fold.seed)
    model = build(slides.width, objective.outputs).to(fold.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.mil_lr, weight_decay=settings.mil_weight_decay)
    names = list(train.index)
    mean, scale = _moments(slides, names)

    # Training bags have one size, so that a step is one call; smaller patients are drawn with replacement, as in
    # pre-training. Every patient is evaluated on its own patches, each once.
    size = int(min(settings.mil_tokens, np.median([slides.patches(p) for p in names])))

    def bag(patient: str, draw: np.random.Generator, train: bool) -> Tensor:
        x = slides.bag(patient, size if train else settings.mil_tokens, draw)
        if train and len(x) < size:
            x = x[np.r_[np.arange(len(x)), draw.integers(len(x), size=size - len(x))]]
        return torch.from_numpy((x - mean) / scale).to(fold.device)

    model.train()
    for _ in range(settings.mil_epochs):
        for rows in np.array_split(rng.permutation(len(names)), max(1, len(names) // BAGS_A_STEP)):
            optimiser.zero_grad()
            logits = model(torch.stack([bag(names[row], rng, True) for row in rows]))
            objective.loss(logits.cpu(), torch.as_tensor(rows)).backward()
            optimiser.step()
    model.eval()
    with torch.no_grad():
        # A fixed subset for large slides: the same patches whenever and wherever it is evaluated.
        found = [
            np.concatenate([model(bag(p, np.random.default_rng(0), False)[None]).cpu().numpy() for p in part.index])
            for part in (train, test)
        ]
    return objective, found[0].astype(float), found[1].astype(float)


def _moments(slides: Slides, patients: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of patch features over a fixed sample of the training patients' patches."""
    rng = np.random.default_rng(0)
    sample = np.concatenate([slides.bag(p, 64, rng) for p in patients])
    scale = sample.std(axis=0)
    return sample.mean(axis=0), np.where(scale > 1e-6, scale, 1.0).astype(np.float32)
