"""The RNA encoder: one vector of genes to one embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.pretrain import ModelSettings
from ..core.errors import InputError

EPS = 1e-6


class HeadAttention(nn.Module):
    """Attention among the heads of a single token.

    There is one token, so that the softmax runs over heads: every head is a vector of D/H
    numbers that attends to the others. The result is laid out with the heads fastest.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(
                f"embed_dim {dim} is not a multiple of rna_heads {heads}", remedy="choose sizes that divide"
            )
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) to (B, D)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.dropout(self.proj(mixed.transpose(1, 2).flatten(1)))


class RnaBlock(nn.Module):
    """Pre-norm transformer block on (B, D)."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        dim, hidden = settings.embed_dim, int(settings.embed_dim * settings.rna_mlp_ratio)
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attention = HeadAttention(dim, settings.rna_heads, settings.rna_dropout)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(settings.rna_dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(self.norm2(x))))))


class RnaEncoder(nn.Module):
    """MLP G -> 2D -> D, a learned vector, transformer blocks, LayerNorm.

    Parameters
    ----------
    settings : ModelSettings
    n_genes : int
        Genes G.
    """

    def __init__(self, settings: ModelSettings, n_genes: int) -> None:
        super().__init__()
        dim = settings.embed_dim
        self.fc1 = nn.Linear(n_genes, 2 * dim)
        self.hidden_norm = nn.LayerNorm(2 * dim, eps=EPS)
        self.fc2 = nn.Linear(2 * dim, dim)
        self.position = nn.Parameter(torch.zeros(1, dim))
        self.blocks = nn.ModuleList(RnaBlock(settings) for _ in range(settings.rna_depth))
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.skip = nn.Linear(n_genes, dim, bias=False) if settings.linear_skip else None

    def forward(self, rna: Tensor) -> Tensor:
        """(B, G) to (B, D)."""
        x = self.fc2(self.hidden_norm(F.gelu(self.fc1(rna)))) + self.position
        for block in self.blocks:
            x = block(x)
        return self.norm(x) if self.skip is None else self.norm(x) + self.skip(rna)
