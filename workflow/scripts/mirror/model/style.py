"""Style clustering: both modalities fall on shared prototypes through a variational bottleneck."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.pretrain import ModelSettings


@dataclass(frozen=True)
class Style:
    """Style of a batch of embeddings.

    Attributes
    ----------
    mu, logvar, z : Tensor (B, L)
        Mean, log-variance and sample of the style latent.
    decoded : Tensor (B, D)
        The sample back at the embedding's width.
    scores : Tensor (B, K)
        Prototype scores (logits).
    """

    mu: Tensor
    logvar: Tensor
    z: Tensor
    decoded: Tensor
    scores: Tensor


class StyleClustering(nn.Module):
    """One encoder and one set of prototypes for both modalities."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        dim, (hidden, out), latent = settings.embed_dim, settings.style_hidden, settings.style_dim
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, out)
        self.mu = nn.Linear(out, latent)
        self.logvar = nn.Linear(out, latent)
        self.decoder = nn.Linear(latent, dim)
        self.prototypes = nn.Linear(dim, settings.prototypes, bias=False)

    def forward(self, embedding: Tensor, noise: Tensor | None = None) -> Style:
        """Style of embeddings (..., D).

        Parameters
        ----------
        embedding : Tensor (..., D)
        noise : Tensor broadcastable to (..., L), optional
            Standard normal; drawn where it is None, in evaluation too, as published. Zeros
            give the style of the mean.
        """
        hidden = self.fc2(F.gelu(self.fc1(embedding)))
        mu, logvar = self.mu(hidden), self.logvar(hidden)
        if noise is None:
            noise = torch.randn(mu.shape, device=mu.device, dtype=mu.dtype)
        z = mu + torch.exp(0.5 * logvar) * noise.to(mu.dtype)
        decoded = self.decoder(z)
        return Style(mu, logvar, z, decoded, self.prototypes(decoded))

    @torch.no_grad()
    def normalize_prototypes(self) -> None:
        """L2-normalise each prototype, in place; due before every step."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))
