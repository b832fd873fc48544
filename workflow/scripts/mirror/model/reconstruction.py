"""What retention rebuilds when it aims at the input."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SUMMARY_PARTS = {"mean": 1, "mean_std": 2, "quantiles": len(QUANTILES), "tokens": 1}
SMALLEST_STD = 1e-6


def summarize(bags: Tensor, kind: str, valid: Tensor | None = None) -> Tensor:
    """Summary of each bag.

    Parameters
    ----------
    bags : Tensor (B, N, W)
    kind : {"mean", "mean_std", "quantiles"}
    valid : Tensor bool (B, N), optional
        Rows that exist.

    Returns
    -------
    Tensor (B, parts * W)
    """
    if valid is not None:
        return torch.cat([summarize(bag[keep][None], kind) for bag, keep in zip(bags, valid, strict=True)])
    if kind == "mean":
        return bags.mean(1)
    if kind == "mean_std":
        return torch.cat([bags.mean(1), bags.std(1, correction=0)], 1)
    q = torch.tensor(QUANTILES, device=bags.device, dtype=bags.dtype)
    return torch.quantile(bags, q, dim=1).transpose(0, 1).flatten(1)


class Standardizer(nn.Module):
    """(x - mean) / std with buffers that start as no change."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Take the statistics; a constant entry keeps a scale of one."""
        std = torch.as_tensor(std, dtype=torch.float32)
        self.mean.copy_(torch.as_tensor(mean, dtype=torch.float32))
        self.std.copy_(torch.where(std > SMALLEST_STD, std, torch.ones_like(std)))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same, float32."""
        return (x.float() - self.mean) / self.std


class Moments:
    """Mean and standard deviation of rows seen in pieces (Chan et al., 1979), float64."""

    def __init__(self) -> None:
        self.n = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, rows: Tensor) -> None:
        """Take rows (n, W)."""
        rows = rows.detach().double().cpu()
        if not len(rows):
            return
        n, mean = len(rows), rows.mean(0)
        squares = (rows - mean).square().sum(0)
        delta, total = mean - self.mean, self.n + n
        self.squares = self.squares + squares + delta.square() * (self.n * n / total)
        self.mean = self.mean + delta * (n / total)
        self.n = total

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (W,) each."""
        if not self.n:
            raise ValueError("no rows were seen")
        return torch.as_tensor(self.mean), (torch.as_tensor(self.squares) / self.n).sqrt()


def bag_statistics(bags: Iterable[Tensor], kind: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    """Statistics of patches, and of bag summaries, over training bags.

    Parameters
    ----------
    bags : iterable of Tensor (N, W)
        One a training slide.
    kind : str
        The settings' ``slide_summary``.

    Returns
    -------
    (mean, std) of patches, (W,) each; (mean, std) of summaries, or None for kind "tokens"
    """
    patches, summaries = Moments(), Moments()
    for bag in bags:
        patches.add(bag)
        if kind != "tokens":
            summaries.add(summarize(bag[None].float(), kind))
    return patches.result(), None if kind == "tokens" else summaries.result()
