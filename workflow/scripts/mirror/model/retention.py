"""Retention: each modality rebuilds itself from a masked copy (published) or from its embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.pretrain import ModelSettings, RetentionSettings
from .attention import AttentionBlock
from .rna_encoder import EPS, RnaBlock


class SlideTokenRetention(nn.Module):
    """Published: masked tokens are rebuilt from the others.

    Parameters
    ----------
    settings, retention : settings of the model and of retention
    width : int
        Width of what is rebuilt.
    """

    def __init__(self, settings: ModelSettings, retention: RetentionSettings, width: int) -> None:
        super().__init__()
        dim = settings.embed_dim
        self.embed = nn.Linear(dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.zeros(1, settings.tokens + 1, dim))
        self.blocks = nn.ModuleList(AttentionBlock(settings) for _ in range(retention.slide_depth))
        self.norm = nn.LayerNorm(dim, eps=1e-5)
        self.head = nn.Linear(dim, width)

    def code(self, embedding: Tensor) -> Tensor:
        """What the branch reads off the embedding, (B, D) to (B, D)."""
        return self.embed(embedding)

    def forward(self, tokens: Tensor, masked: Tensor) -> Tensor:
        """Rebuild all tokens.

        Parameters
        ----------
        tokens : Tensor (B, 1 + n, D)
            The encoder's output, CLS first; n at most the settings' ``tokens``.
        masked : Tensor bool (B, n)

        Returns
        -------
        Tensor (B, n, width)
        """
        x = self.embed(tokens)
        hidden = F.pad(masked, (1, 0))[..., None]  # never CLS
        x = torch.where(hidden, self.mask_token.to(x.dtype), x) + self.position[:, : x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 1:])


class RnaTokenRetention(nn.Module):
    """Published: masked entries of the embedded vector are rebuilt from the others."""

    def __init__(self, settings: ModelSettings, retention: RetentionSettings, width: int) -> None:
        super().__init__()
        dim = settings.embed_dim
        self.embed = nn.Linear(dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1))
        self.position = nn.Parameter(torch.zeros(1, dim))
        self.blocks = nn.ModuleList(RnaBlock(settings) for _ in range(retention.rna_depth))
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.head = nn.Linear(dim, width)

    def code(self, embedding: Tensor) -> Tensor:
        """What the branch reads off the embedding, (B, D) to (B, D)."""
        return self.embed(embedding)

    def forward(self, embedding: Tensor, masked: Tensor) -> Tensor:
        """Embedding (B, D) and mask bool (B, D) to the rebuilt vector (B, width)."""
        x = self.embed(embedding)
        x = torch.where(masked, self.mask_token.to(x.dtype), x) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class EmbeddingRetention(nn.Module):
    """The input (or a summary of it) is rebuilt from the embedding alone.

    Nothing but the embedding reaches the decoder, so that what it rebuilds the embedding must hold.

    Parameters
    ----------
    dim, width : int
        Width of the embedding and of what is rebuilt.
    kind : {"linear", "mlp"}
        One linear layer, or one hidden layer (GELU) of the embedding's width.
    """

    def __init__(self, dim: int, width: int, kind: str) -> None:
        super().__init__()
        self.embed = nn.Linear(dim, dim) if kind == "mlp" else nn.Identity()
        self.head = nn.Linear(dim, width)
        self.kind = kind

    def code(self, embedding: Tensor) -> Tensor:
        """What the branch reads off the embedding, (B, D) to (B, D)."""
        return self.embed(embedding)

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, D) to (B, width)."""
        x = self.embed(embedding)
        return self.head(F.gelu(x) if self.kind == "mlp" else x)


class EmbeddingTokenRetention(EmbeddingRetention):
    """Tokens are rebuilt from the slide embedding and a learned vector for their place."""

    def __init__(self, dim: int, width: int, kind: str, tokens: int) -> None:
        super().__init__(dim, width, kind)
        self.position = nn.Parameter(torch.zeros(1, tokens, dim))

    def forward(self, embedding: Tensor, n: int | None = None) -> Tensor:
        """(B, D) and a number of tokens n to (B, n, width)."""
        x = self.embed(embedding)[:, None] + self.position[:, :n]
        return self.head(F.gelu(x) if self.kind == "mlp" else x)
