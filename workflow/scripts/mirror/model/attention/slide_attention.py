"""The slide side's attention layer: Nystroem as published, or exact at the same weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...config.pretrain import ModelSettings
from ...core.errors import InputError
from ..dropout import add_dropped
from ..token_rows import Rows, look_up, take
from .nystrom import PinvScaling, front_padding, nystrom_attention, nystrom_row, pad_front
from .nystrom_cpu import NystromCPU
from .value_convolution import add_value_convolution

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
    """

    def __init__(self, dim: int, heads: int, landmarks: int, kind: str, pinv_scaling: PinvScaling) -> None:
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

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> SlideAttention:
        """The layer that the settings describe."""
        return cls(
            settings.embed_dim,
            settings.slide_heads,
            settings.landmarks or max(settings.embed_dim // 2, 1),
            settings.attention,
            settings.pinv_scaling,
        )

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, n, D) to queries, keys and values (B, H, n, D/H)."""
        return self._split(self.qkv(x))

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, n, 3 D) to three views (B, H, n, D/H)."""
        return qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: Tensor, rows: Rows = None) -> Tensor:
        """Attend.

        Parameters
        ----------
        x : Tensor (B, n, D)
        rows : None, int or Tensor int64 (B, k)
            Tokens whose result is wanted: all, the first so many, or those at these places.

        Returns
        -------
        Tensor (B, n, D) or (B, k, D)
        """
        if self.kind == "exact" and rows is not None:
            query, rest = self._split_projection()
            mixed = self._exact(F.linear(take(x, rows), query), *F.linear(x, rest).chunk(2, 2), rows)  # type: ignore[call-arg]
        else:
            mixed = self._mix(self.qkv(x), rows)
        return self.out(mixed)

    def shared(self, table: Tensor, index: Tensor, rows: Tensor | None, asking: int) -> Tensor:
        """`forward` of ``table[index]`` where rows of the table stand in several bags: they are projected once.

        Parameters
        ----------
        table : Tensor (R, D)
        index : Tensor int64 (B, n)
        rows : Tensor int64 (B, k) or None
        asking : int
            Where ``rows`` are given, none of them stands before this row of the table.

        Returns
        -------
        Tensor (B, n, D) or (B, k, D)
        """
        if self.kind == "exact" and rows is not None:
            query, rest = self._split_projection()
            q = look_up(F.linear(table[asking:], query), index.gather(1, rows) - asking)
            mixed = self._exact(q, *look_up(F.linear(table, rest), index).chunk(2, 2), rows)  # type: ignore[call-arg]
        else:
            mixed = self._mix(look_up(self.qkv(table), index), rows)
        return self.out(mixed)

    def _split_projection(self) -> tuple[Tensor, Tensor]:
        """Weights of the queries, and of keys and values."""
        dim = self.qkv.in_features
        query, rest = self.qkv.weight.split([dim, 2 * dim])
        return query, rest

    def _mix(self, qkv: Tensor, rows: Rows) -> Tensor:
        """Attention and convolution from the projections (B, n, 3 D)."""
        n, dim = qkv.shape[1], qkv.shape[2] // 3
        if self.kind == "exact":
            q, k, v = qkv.chunk(3, 2)
            return self._exact(take(q, rows), k, v, rows)
        weight = self.residual.weight
        if qkv.is_cpu and qkv.dtype == torch.float32 and self.landmarks >= SMALLEST_SPECTRAL:
            return NystromCPU.apply(qkv, weight, self.heads, self.landmarks, self.pinv_scaling, rows)
        asked = take(qkv[..., :dim], rows).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, k, v = self._split(pad_front(qkv, front_padding(n, self.landmarks)))
        scale = q.shape[-1] ** -0.5
        mixed = nystrom_attention(q * scale, k, v, self.landmarks, self.pinv_scaling, asked * scale)
        return add_value_convolution(mixed.transpose(1, 2).flatten(2), qkv[..., 2 * dim :], weight, rows)

    def _exact(self, q: Tensor, k: Tensor, v: Tensor, rows: Rows) -> Tensor:
        """Queries (B, k, D) of ``rows``, keys and values (B, n, D), to (B, k, D)."""
        heads = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return add_value_convolution(mixed, v, self.residual.weight, rows)

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
    """x + dropout(attention(LayerNorm(x))), x (B, n, D)."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(settings.embed_dim, eps=1e-5)
        self.attention = SlideAttention.from_settings(settings)
        self.dropout = settings.slide_dropout

    def forward(self, x: Tensor, rows: Rows = None) -> Tensor:
        """All tokens, or those that are asked for: (B, k, D)."""
        return add_dropped(take(x, rows), self.attention(self.norm(x), rows), self.dropout, self.training)

    def shared(self, table: Tensor, index: Tensor, rows: Tensor | None, asking: int) -> Tensor:
        """`forward` of ``table[index]``, see `SlideAttention.shared`."""
        mixed = self.attention.shared(self.norm(table), index, rows, asking)
        wanted = look_up(table, index if rows is None else index.gather(1, rows))
        return add_dropped(wanted, mixed, self.dropout, self.training)
