"""Style clustering: both modalities fall on shared prototypes through a variational bottleneck."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config.pretrain import ModelSettings, StyleSettings

SINKHORN_ROUNDS = 5
SLIDE, RNA = 0, 1
MOMENTUM = 0.1
FEWEST_ROWS = 8
"""A batch with fewer rows is standardised with the running statistics, to which it adds: its own would be noise."""


@dataclass(frozen=True)
class Style:
    """Style of a batch of embeddings.

    Attributes
    ----------
    mu, logvar, z : Tensor (B, L)
        Mean, log-variance and sample of the style latent.
    decoded : Tensor (B, D)
        The sample (the mean, where ``cluster`` is not ``kl``) back at the embedding's width.
    scores : Tensor (B, K)
        Prototype scores (logits).
    queued : Tensor (Q, K) or None
        Scores of earlier samples of the same modality, without gradient (balanced assignments).
    """

    mu: Tensor
    logvar: Tensor
    z: Tensor
    decoded: Tensor
    scores: Tensor
    queued: Tensor | None = None


class StyleClustering(nn.Module):
    """One encoder and one set of prototypes for both modalities.

    Parameters
    ----------
    settings : ModelSettings
    style : StyleSettings, optional
        By default as published. With another ``cluster`` loss, scores are cosines over a temperature of
        what the mean of the latent decodes to (its noise would drown the clusters before they form),
        and a queue keeps what earlier batches decoded, a row per sample, so that assignments can be
        balanced over more samples than a batch holds (Caron et al., 2020). The mean of the latent is
        standardised over the samples of its modality (batch statistics in training, running ones in
        evaluation). At first all samples differ by less than the decoder's bias, so that without this their
        cosines are equal and every assignment is uniform; and what separates the modalities as a whole
        would put them on different prototypes.
    """

    queue: Tensor
    filled: Tensor

    def __init__(self, settings: ModelSettings, style: StyleSettings | None = None) -> None:
        super().__init__()
        style = style or StyleSettings()
        self.temperature = None if style.cluster == "kl" else style.temperature
        dim, (hidden, out), latent = settings.embed_dim, settings.style_hidden, settings.style_dim
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, out)
        self.mu = nn.Linear(out, latent)
        self.logvar = nn.Linear(out, latent)
        self.decoder = nn.Linear(latent, dim, bias=self.temperature is None)
        self.prototypes = nn.Linear(dim, settings.prototypes, bias=False)
        if self.temperature is not None:
            self.register_buffer("queue", torch.zeros(2, style.queue, dim))
            self.register_buffer("filled", torch.zeros(2, dtype=torch.long))
            self.scales = nn.ModuleList(nn.BatchNorm1d(latent, affine=False) for _ in (SLIDE, RNA))

    def forward(self, embedding: Tensor, noise: Tensor | None = None, modality: int = SLIDE) -> Style:
        """Style of embeddings (..., D).

        Parameters
        ----------
        embedding : Tensor (..., D)
        noise : Tensor broadcastable to (..., L), optional
            Standard normal; drawn where it is None, in evaluation too, as published. Zeros
            give the style of the mean.
        modality : int
            `SLIDE` or `RNA`; of no effect where ``cluster`` is ``kl``.
        """
        hidden = self.fc2(F.gelu(self.fc1(embedding)))
        mu, logvar = self.mu(hidden), self.logvar(hidden)
        if noise is None:
            noise = torch.randn(mu.shape, device=mu.device, dtype=mu.dtype)
        z = mu + torch.exp(0.5 * logvar) * noise.to(mu.dtype)
        decoded = self.decoder(z) if self.temperature is None else self._decode_mean(mu, modality)
        return Style(mu, logvar, z, decoded, self.score(decoded))

    def _decode_mean(self, mu: Tensor, modality: int) -> Tensor:
        """Means (..., L), standardised, at the embedding's width; a bias would be shared by all samples."""
        rows, scale = mu.float().reshape(-1, mu.shape[-1]), self.scales[modality]
        assert isinstance(scale, nn.BatchNorm1d)
        mean, var = scale.running_mean, scale.running_var
        assert mean is not None and var is not None
        own = self.training and len(rows) >= FEWEST_ROWS
        if self.training and 1 < len(rows) < FEWEST_ROWS:
            F.batch_norm(rows.detach(), mean, var, training=True, momentum=MOMENTUM)  # the running ones learn
            mean, var = mean.clone(), var.clone()  # the next batch changes the buffers before the backward pass
        unit = F.batch_norm(rows, mean, var, training=own, momentum=MOMENTUM)
        return F.linear(unit, self.decoder.weight.float()).reshape(*mu.shape[:-1], -1)

    def score(self, decoded: Tensor) -> Tensor:
        """Prototype scores (..., K) of decoded styles (..., D)."""
        if self.temperature is None:
            return self.prototypes(decoded)
        unit, rows = F.normalize(decoded.float(), dim=-1), F.normalize(self.prototypes.weight.float(), dim=-1)
        return unit @ rows.T / self.temperature

    @torch.no_grad()
    def remember(self, style: Style, modality: int) -> Style:
        """Add the scores of the queue of modality 0 (slide) or 1 (RNA), then put this batch into it."""
        if self.temperature is None or not self.queue.shape[1]:
            return style
        queue, n = self.queue[modality], int(self.filled[modality])
        queued = self.score(queue[:n].clone())
        new = style.decoded.detach().to(queue.dtype)[: len(queue)]
        queue.copy_(torch.cat([new, queue])[: len(queue)])
        self.filled[modality] = min(n + len(new), len(queue))
        return replace(style, queued=queued)

    @torch.no_grad()
    def forget(self) -> None:
        """Empty the queue: it serves training alone, and a checkpoint keeps nothing of single samples."""
        if self.temperature is not None:
            self.queue.zero_()
            self.filled.zero_()

    @torch.no_grad()
    def normalize_prototypes(self) -> None:
        """L2-normalise each prototype, in place; due before every step."""
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))


@torch.no_grad()
def balanced_assignments(scores: Tensor, epsilon: float, rounds: int = SINKHORN_ROUNDS) -> Tensor:
    """Soft assignments of samples to prototypes that use every prototype equally (Sinkhorn-Knopp; Cuturi, 2013).

    Parameters
    ----------
    scores : Tensor (n, K)
        Cosines.
    epsilon : float
        Weight of the entropy: small values give nearly hard assignments.
    rounds : int
        Alternating normalisations of columns and rows.

    Returns
    -------
    Tensor float32 (n, K)
        Rows sum to one; columns to about n / K.
    """
    log_q = scores.float() / epsilon
    for _ in range(rounds):
        log_q = log_q - log_q.logsumexp(0, keepdim=True)
        log_q = log_q - log_q.logsumexp(1, keepdim=True)
    return log_q.exp()
