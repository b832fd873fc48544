"""Gated attention pooling (Ilse, Tomczak and Welling, ICML 2018), trained on the task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..fold_data import FoldData
from ..mil import train_bags
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
    tasks=("subtyping", "survival"),
    modality="wsi",
    description="gated attention pooling, supervised",
    network=True,
    fewshot=False,
)
def fit(fold: FoldData):
    """Fixed epochs; cross-entropy, or discrete-time hazards on training-quantile bins."""
    slides, train, test = fold.with_slides()
    settings = fold.settings.baseline
    objective, logits_train, logits = train_bags(
        fold,
        slides,
        train,
        test,
        lambda width, outputs: GatedAttention(width, outputs, settings.mil_width, settings.mil_dropout),
    )
    return [("mil", objective.rows(fold, test, logits_train, logits))]
