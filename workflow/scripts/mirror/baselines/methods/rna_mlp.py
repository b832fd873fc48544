"""A multilayer perceptron on the fold's standardised genes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import nn

from ...heads.scaling import Standardiser
from ..fold_data import FoldData, Patients
from ..method import Predicted
from ..mil import NetworkMethod
from ..registry import baseline

BATCH = 32
DROPOUT = 0.5


@baseline(
    "rna_mlp",
    kinds=("class", "ordinal", "survival", "number"),
    modality="rna",
    description="multilayer perceptron on genes",
    title="RNA MLP",
    order=50,
    heads={"mlp": ""},
    network=True,
    fewshot=False,
)
class RnaMlp(NetworkMethod):
    """One hidden layer, fixed epochs; cross-entropy, or discrete-time hazards on training-quantile bins."""

    head = "mlp"

    def build(self, inputs: int, outputs: int, width: int, dropout: float) -> nn.Module:
        """See `NetworkMethod.build`."""
        return nn.Sequential(
            nn.Linear(inputs, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, outputs)
        )

    def fit(self, fold: FoldData) -> RnaMlp:
        """See `Method.fit`."""
        x, table = fold.training.rna()
        settings = fold.settings.baseline
        self.scaler_ = Standardiser.fit(x, fold.clipped, rotate=False)
        self._start(fold, table, x.shape[1], settings.mlp_width, DROPOUT)
        a = torch.as_tensor(self.scaler_(x), dtype=torch.float32)
        weights = self.network.parameters()
        optimiser = torch.optim.AdamW(weights, lr=settings.mlp_lr, weight_decay=settings.mlp_weight_decay)
        rng = np.random.default_rng(fold.seed)
        for _ in range(settings.mlp_epochs):
            for rows in np.array_split(rng.permutation(len(a)), max(1, len(a) // BATCH)):
                optimiser.zero_grad()
                self.objective.loss(self.network(a[rows]), torch.as_tensor(rows)).backward()
                optimiser.step()
        self.network.eval()
        self.objective.set_threshold(self._logits(x))
        return self

    def predict(self, patients: Patients) -> list[Predicted]:
        """See `Method.predict`."""
        x, table = patients.rna()
        return self._predicted(table, self._logits(x))

    def _logits(self, x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.network(torch.as_tensor(self.scaler_(x), dtype=torch.float32)).double().numpy()

    def to_dict(self) -> dict[str, Any]:
        """See `NetworkMethod.to_dict`."""
        return super().to_dict() | {"scaler": self.scaler_.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """See `Method.from_dict`."""
        method = super().from_dict(data)
        method.scaler_ = Standardiser.from_dict(data["scaler"])
        return method
