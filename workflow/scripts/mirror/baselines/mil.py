"""Networks trained on the task: what ABMIL, TransMIL, the RNA MLP and fine-tuning share."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..config.evaluation import EvaluationSettings
from ..dataset.patches import Slides
from ..heads.hazard_loss import nll_survival
from ..heads.hazards import assign_bins, curve_from_hazards, time_bins
from ..heads.logistic import ClassPrediction
from ..heads.ridge import NumberPrediction
from ..heads.stored import Prediction
from ..heads.survival import SurvivalPrediction, require_events, time_grid
from ..targets.registry import Target
from ..targets.survival import outcome_of
from .fold_data import FoldData, Patients
from .method import Method, Predicted

BAGS_A_STEP = 8
CLASSES = ("class", "ordinal")
"""Kinds of target whose networks end in one logit per class."""


class Objective:
    """Loss of a target, and the way from a network's logits to predictions, fitted on training patients.

    Parameters
    ----------
    task : Target, or the name of a short form
    train : DataFrame
        Rows of the patients table.
    settings : EvaluationSettings

    Attributes
    ----------
    outputs : int
        Logits that the network needs: classes, or time bins.
    fitted : dict
        Plain data that `prediction` needs: ``classes``; or ``edges``, ``end``, ``times`` (days) and, once
        `set_threshold` was called, ``threshold``; or the training patients' ``mean`` and ``sd`` of a number.
    notes : list of str
        Fallbacks that were taken.
    """

    def __init__(self, task: Target | str, train: pd.DataFrame, settings: EvaluationSettings) -> None:
        self.target = Target.of(task)
        self.kind = self.target.kind
        self.notes: list[str] = []
        if self.kind == "number":
            value = train["value"].to_numpy(float)
            self.fitted: dict[str, Any] = {"mean": float(value.mean()), "sd": float(value.std()) or 1.0}
            self.wanted = torch.as_tensor((value - self.fitted["mean"]) / self.fitted["sd"], dtype=torch.float32)
            return
        if self.kind in CLASSES:
            classes = sorted(set(train["label"].astype(str)))
            self.fitted = {"classes": classes}
            self.wanted = torch.as_tensor(np.searchsorted(classes, train["label"].to_numpy(str)))
            count = torch.bincount(self.wanted, minlength=len(classes)).float()
            # Classes weigh the same, so that a rare one is not given up in a short training.
            self.class_weight = count.sum() / (len(classes) * count)
            return
        known = outcome_of(train)
        time, event = known["time"], known["event"].astype(np.int64)
        events = require_events(event)
        few = events < settings.survival.min_events
        if few:
            self.notes.append(f"{events} training events: at most 2 time bins")
        edges = time_bins(time, event, min(2, settings.survival.bins) if few else settings.survival.bins)
        self.bins, self.event = torch.as_tensor(assign_bins(time, edges)), torch.as_tensor(event)
        self.fitted = {"edges": edges.tolist(), "end": float(time.max()), "times": time_grid(time).tolist()}

    @property
    def outputs(self) -> int:
        """Logits that the network needs."""
        if self.kind == "number":
            return 1
        return len(self.fitted["classes"]) if self.kind in CLASSES else len(self.fitted["edges"]) + 1

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Weighted cross-entropy, squared error or discrete-time negative log likelihood of training ``rows``."""
        if self.kind == "number":
            return nn.functional.mse_loss(logits[:, 0], self.wanted[rows])
        if self.kind in CLASSES:
            return nn.functional.cross_entropy(logits, self.wanted[rows], self.class_weight)
        return nll_survival(logits, self.bins[rows], self.event[rows])

    def set_threshold(self, logits: np.ndarray) -> None:
        """Take the median risk of the training patients' ``logits`` as the threshold of risk groups."""
        if self.kind == "survival":
            self.fitted["threshold"] = float(np.median(self._risk(self._hazards(logits))))

    @staticmethod
    def _hazards(logits: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))

    @staticmethod
    def _risk(h: np.ndarray) -> np.ndarray:
        return -np.cumprod(1 - h, axis=1).sum(axis=1)

    def prediction(self, logits: np.ndarray) -> Prediction:
        """Predictions from logits, float64 (n, outputs)."""
        if self.kind == "number":
            return NumberPrediction(self.fitted["mean"] + self.fitted["sd"] * logits[:, 0])
        if self.kind in CLASSES:
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            return ClassPrediction(self.fitted["classes"], p / p.sum(axis=1, keepdims=True))
        h, times = self._hazards(logits), np.array(self.fitted["times"])
        curve = curve_from_hazards(h, np.array(self.fitted["edges"]), self.fitted["end"], times)
        return SurvivalPrediction(self._risk(h), self.fitted["threshold"], times, curve)

    def to_dict(self) -> dict[str, Any]:
        """Plain data of what predictions need."""
        target = {"name": self.target.name, "kind": self.kind, "order": list(self.target.order)}
        return {"target": target, **self.fitted}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Objective:
        """An objective that predicts; it has no patients to train on."""
        objective = cls.__new__(cls)
        objective.target = Target.of(data["target"])
        objective.kind, objective.fitted = objective.target.kind, {k: v for k, v in data.items() if k != "target"}
        return objective


class NetworkMethod(Method):
    """A baseline that is one network and an `Objective`.

    Attributes
    ----------
    head : str
        Name of its head in the predictions.
    sizes_ : dict
        Arguments of `build`.
    """

    head = ""

    def build(self, inputs: int, outputs: int, width: int, dropout: float) -> nn.Module:
        """The network: from features of ``inputs`` columns to ``outputs`` logits."""
        raise NotImplementedError

    def _start(self, fold: FoldData, table: pd.DataFrame, inputs: int, width: int, dropout: float) -> None:
        """Objective and network, seeded."""
        self.objective = Objective(fold.task, table, fold.settings)
        fold.notes += self.objective.notes
        self.sizes_: dict[str, Any] = {
            "inputs": inputs,
            "outputs": self.objective.outputs,
            "width": width,
            "dropout": dropout,
        }
        torch.manual_seed(fold.seed)
        self.network = self.build(**self.sizes_)

    def _predicted(self, table: pd.DataFrame, logits: np.ndarray) -> list[Predicted]:
        return [Predicted(self.head, list(table.index), self.objective.prediction(logits))]

    def to_dict(self) -> dict[str, Any]:
        """See `Method.to_dict`; ``network`` is the state dict (tensors on the CPU), the rest is JSON."""
        state = {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        return {"network": state, "sizes": self.sizes_, "objective": self.objective.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """See `Method.from_dict`."""
        method = cls()
        method.sizes_, method.objective = data["sizes"], Objective.from_dict(data["objective"])
        method.network = method.build(**method.sizes_)
        method.network.load_state_dict(data["network"])
        method.network.eval()
        return method


class BagMethod(NetworkMethod):
    """A network from bags, Tensor (B, N, D), to logits (B, outputs); fixed epochs, no epoch is chosen.

    Attributes
    ----------
    mean_, scale_ : ndarray (D,)
        Of the training patients' patch features.
    tokens_ : int
        Patches of a patient at most.
    """

    head = "mil"

    def fit(self, fold: FoldData) -> BagMethod:
        """See `Method.fit`."""
        slides, table = fold.training.bags()
        settings = fold.settings.baseline
        self._start(fold, table, slides.width, settings.mil_width, settings.mil_dropout)
        self.network.to(fold.device)
        names = list(table.index)
        self.tokens_ = settings.mil_tokens
        self.mean_, self.scale_ = _moments(slides, names)
        # Training bags have one size, so that a step is one call; smaller patients are drawn with replacement, as in
        # pre-training. Every patient is evaluated on its own patches, each once.
        size = int(min(self.tokens_, np.median([slides.patches(p) for p in names])))
        rng = np.random.default_rng(fold.seed)
        weights = self.network.parameters()
        optimiser = torch.optim.AdamW(weights, lr=settings.mil_lr, weight_decay=settings.mil_weight_decay)

        def bag(patient: str) -> Tensor:
            x = slides.bag(patient, size, rng)
            if len(x) < size:
                x = x[np.r_[np.arange(len(x)), rng.integers(len(x), size=size - len(x))]]
            return self._tensor(x)

        self.network.train()
        for _ in range(settings.mil_epochs):
            for rows in np.array_split(rng.permutation(len(names)), max(1, len(names) // BAGS_A_STEP)):
                optimiser.zero_grad()
                logits = self.network(torch.stack([bag(names[row]) for row in rows]))
                self.objective.loss(logits.cpu(), torch.as_tensor(rows)).backward()
                optimiser.step()
        self.network.eval()
        if fold.target.kind == "survival":
            self.objective.set_threshold(self._logits(slides, names))
        return self

    def predict(self, patients: Patients) -> list[Predicted]:
        """See `Method.predict`."""
        slides, table = patients.bags()
        return self._predicted(table, self._logits(slides, list(table.index)))

    def _logits(self, slides: Slides, names: list[str]) -> np.ndarray:
        """Logits, float64 (n, outputs)."""
        found = []
        with torch.no_grad():
            for name in names:
                # A fixed subset for large slides: the same patches whenever and wherever it is evaluated.
                x = self._tensor(slides.bag(name, self.tokens_, np.random.default_rng(0)))
                found.append(self.network(x[None]).cpu().numpy())
        return np.concatenate(found).astype(float)

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy((x - self.mean_) / self.scale_).to(next(self.network.parameters()).device)

    def to_dict(self) -> dict[str, Any]:
        """See `NetworkMethod.to_dict`."""
        inputs = {"mean": self.mean_.tolist(), "scale": self.scale_.tolist(), "tokens": self.tokens_}
        return super().to_dict() | {"patches": inputs}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """See `Method.from_dict`."""
        method = super().from_dict(data)
        method.mean_, method.scale_ = (np.array(data["patches"][k], dtype=np.float32) for k in ("mean", "scale"))
        method.tokens_ = data["patches"]["tokens"]
        return method


def _moments(slides: Slides, patients: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of patch features over a fixed sample of the training patients' patches."""
    rng = np.random.default_rng(0)
    sample = np.concatenate([slides.bag(p, 64, rng) for p in patients])
    scale = sample.std(axis=0)
    return sample.mean(axis=0), np.where(scale > 1e-6, scale, 1.0).astype(np.float32)
