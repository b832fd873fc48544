"""Retention: each modality rebuilds itself from a masked copy (published) or from its embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.pretrain import ModelSettings, RetentionSettings
from .attention.slide_attention import AttentionBlock
from .rna_encoder import EPS, RnaBlock
from .token_rows import look_up


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

    def masked_alone(self, seen: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Rebuild the masked tokens, with what nothing reads left out.

        A masked token is the mask token and its place, the same in every bag: it is projected
        once. The last block computes queries for masked tokens alone.

        Parameters
        ----------
        seen : Tensor (B, 1 + v, D)
            CLS and the tokens that are not masked.
        visible, hidden : Tensor int64 (B, v) and (B, k)
            Places of the tokens that are not and that are masked, v + k = n and k > 0.

        Returns
        -------
        Tensor (B, k, width)
            `forward` at ``hidden``.
        """
        places, (batch, known) = hidden + 1, seen.shape[:2]
        at, n = F.pad(visible + 1, (1, 0)), known + hidden.shape[1]
        embedded = self.embed(seen)
        x = embedded + look_up(self.position[0], at)
        # Of one bag only the masked places are needed, of several nearly all are.
        guesses = self.position[0, 1:n] if batch > 1 else look_up(self.position[0], places)[0]
        guesses = self.mask_token[0].to(embedded.dtype) + guesses
        known_rows = torch.arange(batch * known, device=x.device).unflatten(0, (batch, known))
        guess_rows = hidden if batch > 1 else torch.arange(len(guesses), device=x.device)[None]
        index = torch.empty((batch, n), dtype=torch.int64, device=x.device)
        index.scatter_(1, at, known_rows).scatter_(1, places, guess_rows + batch * known)
        table = torch.cat([x.flatten(0, 1), guesses])
        first, *others = self.blocks
        x = first.shared(table, index, None if others else places, batch * known)  # type: ignore[operator]
        for block in others:
            x = block(x, places if block is others[-1] else None)
        return self.head(self.norm(x))


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
