"""TransMIL (Shao et al., NeurIPS 2021), trained on the task: MIRROR's slide encoder and a linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from ...config.pretrain import ModelSettings
from ...model.slide_encoder import SlideEncoder
from ..mil import BagMethod
from ..registry import baseline

HEADS = 4


class TransMil(nn.Module):
    """Bags (B, N, D) to logits (B, outputs), from the CLS token."""

    def __init__(self, width_in: int, outputs: int, width: int, dropout: float) -> None:
        super().__init__()
        dim = width - width % HEADS
        # Exact attention: at the few hundred patches of a bag it is both exact and cheaper than Nystroem's.
        settings = ModelSettings(embed_dim=dim, slide_heads=HEADS, attention="exact", slide_dropout=dropout)
        self.encoder, self.head = SlideEncoder(settings, width_in), nn.Linear(dim, outputs)
        nn.init.normal_(self.encoder.cls_token, std=0.02)

    def forward(self, bags: Tensor) -> Tensor:
        """Logits of bags of one size."""
        return self.head(self.encoder(bags)[:, 0])


@baseline(
    "transmil",
    kinds=("class", "ordinal", "survival", "number"),
    modality="wsi",
    description="TransMIL, supervised",
    title="TransMIL",
    order=90,
    heads={"mil": ""},
    gpu=True,
    network=True,
    fewshot=False,
)
class TransMilBaseline(BagMethod):
    """Fixed epochs; cross-entropy, or discrete-time hazards on training-quantile bins."""

    def build(self, inputs: int, outputs: int, width: int, dropout: float) -> nn.Module:
        """See `NetworkMethod.build`."""
        return TransMil(inputs, outputs, width, dropout)
