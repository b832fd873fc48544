"""Gated attention pooling (Ilse, Tomczak and Welling, ICML 2018), trained on the task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..mil import BagMethod
from ..registry import baseline


class GatedAttention(nn.Module):
    """Bags (B, N, D) to logits (B, outputs): a weighted mean of embedded patches, then a linear layer."""

    def __init__(self, width_in: int, outputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(width_in, width), nn.ReLU(), nn.Dropout(dropout))
        self.content, self.gate = nn.Linear(width, width // 2), nn.Linear(width, width // 2)
        self.score, self.head = nn.Linear(width // 2, 1), nn.Linear(width, outputs)

    def forward(self, bags: Tensor) -> Tensor:
        """Logits of bags of one size."""
        h = self.embed(bags)
        weight = self.score(torch.tanh(self.content(h)) * torch.sigmoid(self.gate(h))).softmax(dim=1)
        return self.head((weight * h).sum(dim=1))


@baseline(
    "abmil",
    kinds=("class", "ordinal", "survival", "number"),
    modality="wsi",
    description="gated attention pooling, supervised",
    title="ABMIL",
    order=80,
    heads={"mil": ""},
    gpu=True,
    network=True,
    fewshot=False,
)
class Abmil(BagMethod):
    """Fixed epochs; cross-entropy, or discrete-time hazards on training-quantile bins."""

    def build(self, inputs: int, outputs: int, width: int, dropout: float) -> nn.Module:
        """See `NetworkMethod.build`."""
        return GatedAttention(inputs, outputs, width, dropout)
