"""The slide side's attention layer: Nystroem as published, or exact at the same weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.pretrain import ModelSettings
from ..io.errors import InputError
from .nystrom import PinvScaling, front_padding, nystrom_attention, nystrom_row, pad_front
from .nystrom_cpu import NystromCPU
from .value_convolution import value_convolution

RESIDUAL_WIDTH = 33
# Fewer landmarks than this: the iteration itself is as fast as an eigendecomposition.
SMALLEST_SPECTRAL = 96


class SlideAttention(nn.Module):
    """Multi-head self-attention with a depthwise convolution of the values added.

    Parameters
    ----------
    dim, heads : int
        Width D and number of heads (heads divides D).
    landmarks : int
        Landmarks of the Nystroem form; it zero-pads in front to a multiple of them, and the
        padded rows count in its softmaxes and means, as published.
    kind : {"nystrom", "exact"}
    pinv_scaling : {"matrix", "batch"}
    dropout : float
        After the output projection.
    """

    def __init__(
        self, dim: int, heads: int, landmarks: int, kind: str, pinv_scaling: PinvScaling, dropout: float
    ) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(
                f"embed_dim {dim} is not a multiple of slide_heads {heads}", remedy="choose sizes that divide"
            )
        self.heads, self.landmarks, self.kind, self.pinv_scaling = heads, landmarks, kind, pinv_scaling
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.residual = nn.Conv2d(
            heads, heads, (RESIDUAL_WIDTH, 1), padding=(RESIDUAL_WIDTH // 2, 0), groups=heads, bias=False
        )
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> SlideAttention:
        """The layer that the settings describe."""
        return cls(
            settings.embed_dim,
            settings.slide_heads,
            settings.landmarks or max(settings.embed_dim // 2, 1),
            settings.attention,
            settings.pinv_scaling,
            settings.slide_dropout,
        )

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, n, D) to three views (B, H, n, D/H)."""
        return self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, D) to (B, n, D)."""
        n = x.shape[1]
        if self.kind == "exact":
            q, k, v = self._heads(x)
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            mixed = mixed + value_convolution(v.transpose(1, 2).flatten(2), self.residual.weight)
        elif x.is_cpu and x.dtype == torch.float32 and self.landmarks >= SMALLEST_SPECTRAL:
            mixed = NystromCPU.apply(self.qkv(x), self.residual.weight, self.heads, self.landmarks, self.pinv_scaling)
        else:
            q, k, v = self._heads(pad_front(x, front_padding(n, self.landmarks)))
            mixed = nystrom_attention(q * q.shape[-1] ** -0.5, k, v, self.landmarks, self.pinv_scaling)
            mixed = mixed.transpose(1, 2).flatten(2)
            mixed = (mixed + value_convolution(v.transpose(1, 2).flatten(2), self.residual.weight))[:, -n:]
        return self.dropout(self.out(mixed))

    def first(self, x: Tensor) -> Tensor:
        """The result for the first token alone, (B, n, D) to (B, 1, D); cheap in the exact form."""
        if self.kind != "exact":
            return self.forward(x)[:, :1]
        query, rest = self.qkv.weight.split([x.shape[2], 2 * x.shape[2]])
        q = F.linear(x[:, :1], query).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = F.linear(x, rest).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        reach = v[:, :, : RESIDUAL_WIDTH // 2 + 1].transpose(1, 2).flatten(2)
        mixed = mixed + value_convolution(reach, self.residual.weight)[:, :1]
        return self.dropout(self.out(mixed))

    def row(self, x: Tensor, index: int) -> Tensor:
        """Attention that token ``index`` of x (B, n, D) pays to all tokens: (B, H, n)."""
        n = x.shape[1]
        padding = 0 if self.kind == "exact" else front_padding(n, self.landmarks)
        q, k, _ = self._heads(pad_front(x, padding))
        q = q * q.shape[-1] ** -0.5
        if self.kind == "exact":
            return torch.softmax((q[:, :, index : index + 1] @ k.transpose(-1, -2)).squeeze(2).float(), -1)
        return nystrom_row(q, k, padding + index, self.landmarks, self.pinv_scaling)[..., padding:]


class AttentionBlock(nn.Module):
    """x + attention(LayerNorm(x)), x (B, n, D)."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(settings.embed_dim, eps=1e-5)
        self.attention = SlideAttention.from_settings(settings)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(self.norm(x))

    def first(self, x: Tensor) -> Tensor:
        """The result for the first token alone, (B, 1, D)."""
        return x[:, :1] + self.attention.first(self.norm(x))
