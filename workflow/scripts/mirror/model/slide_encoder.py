"""The slide encoder: a bag of patch features to tokens and an embedding (TransMIL form)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.pretrain import ModelSettings
from .attention.slide_attention import AttentionBlock
from .ppeg import PPEG, square_side, to_square


class SlideEncoder(nn.Module):
    """Linear and ReLU, CLS, attention, PPEG, attention, LayerNorm.

    Parameters
    ----------
    settings : ModelSettings
    feature_width : int
        Width D_p of the patch features.
    """

    def __init__(self, settings: ModelSettings, feature_width: int) -> None:
        super().__init__()
        dim = settings.embed_dim
        self.embed = nn.Linear(feature_width, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.block1 = AttentionBlock(settings)
        self.ppeg = PPEG(dim)
        self.block2 = AttentionBlock(settings)
        self.norm = nn.LayerNorm(dim, eps=1e-5)
        self.skip = nn.Linear(feature_width, dim, bias=False) if settings.linear_skip else None

    def _before_second_block(self, bags: Tensor) -> Tensor:
        return self.ppeg(self.block1(to_square(self.cls_token, F.relu(self.embed(bags)))))

    def forward(self, bags: Tensor) -> Tensor:
        """Encode bags of one length.

        Parameters
        ----------
        bags : Tensor (B, N, D_p)
            N patch features per slide, N >= 1.

        Returns
        -------
        Tensor (B, 1 + N, D)
            CLS first, then the tokens without the padded ones.
        """
        n = bags.shape[1]
        out = self.norm(self.block2(self._before_second_block(bags), n + 1))
        if self.skip is None:
            return out
        tokens = self.skip(bags)
        return out + torch.cat([tokens.mean(1, keepdim=True), tokens], 1)

    def embedding(self, bags: Tensor) -> Tensor:
        """CLS alone, as `forward` gives it, (B, N, D_p) to (B, 1, D): the last layer computes nothing else."""
        out = self.norm(self.block2(self._before_second_block(bags), 1))
        return out if self.skip is None else out + self.skip(bags.mean(1, keepdim=True))

    def attention(self, bag: Tensor) -> Tensor:
        """Attention of CLS to each patch in the last layer, for heatmaps.

        Parameters
        ----------
        bag : Tensor (N, D_p)

        Returns
        -------
        Tensor float32 (H, N)
            The repeated tokens that fill the square add to the patch they repeat. What CLS
            pays to itself (and, in the Nystroem form, to padding) is left out, so that rows
            need not sum to one.
        """
        n = len(bag)
        tokens = self._before_second_block(bag[None])
        row = self.block2.attention.row(self.block2.norm(tokens), 0)[0, :, 1:].float()
        attention = row[:, :n].clone()
        attention[:, : square_side(n) ** 2 - n] += row[:, n:]
        return attention
