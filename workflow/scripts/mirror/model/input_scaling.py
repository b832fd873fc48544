"""Robust standardisation of patch features inside the model's own input."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor, nn

KNOTS = 65
ROWS = 65_536
CLIP = 5.0
IQR_OF_NORMAL = 1.349


def spread_rows(bag: Tensor, most: int) -> Tensor:
    """At most ``most`` rows of a bag (N, W), evenly spaced."""
    if len(bag) <= most:
        return bag
    return bag[torch.linspace(0, len(bag) - 1, most).round().long()]


class InputScaling(nn.Module):
    """Patch features to a common scale, with statistics that are stored with the model.

    The scale of patch features differs by orders of magnitude between encoders and between the
    features of one encoder, and single values can be extreme. Until `fit` is called, nothing changes.

    Parameters
    ----------
    kind : {"none", "clip", "ranks"}
        ``clip``: the median is subtracted, the interquartile range (in units of a normal
        distribution's) divides, and the result is clipped to plus or minus 5. ``ranks``: each
        feature is mapped to the normal score of its rank among the training patches, linearly
        between `KNOTS` quantiles; values outside the training range take its ends.
    width : int
        Features W.
    """

    centre: Tensor
    scale: Tensor
    knots: Tensor
    scores: Tensor
    fitted: Tensor

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "clip":
            self.register_buffer("centre", torch.zeros(width))
            self.register_buffer("scale", torch.ones(width))
        if kind == "ranks":
            self.register_buffer("knots", torch.zeros(width, KNOTS))
            self.register_buffer("scores", torch.zeros(width, KNOTS))
        if kind != "none":
            self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def fit(self, rows: Tensor) -> None:
        """Take the statistics of training patches (n, W), finite.

        A constant feature becomes zero.
        """
        if self.kind == "none":
            return
        x = rows.detach().cpu().numpy().astype(np.float64)
        if self.kind == "clip":
            low, middle, high = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
            scale = (high - low) / IQR_OF_NORMAL
            # More than half of the values are one: the standard deviation is all that is left.
            scale = np.where(scale > 1e-6 * np.maximum(np.abs(middle), 1e-6), scale, x.std(0))
            scale = np.where(scale > 1e-7 * np.maximum(np.abs(middle), 1e-6), scale, np.inf)
            self.centre.copy_(torch.from_numpy(middle))
            self.scale.copy_(torch.from_numpy(scale))
        else:
            n = len(x)
            share = np.clip(np.linspace(0, 1, KNOTS), 0.5 / n, 1 - 0.5 / n)
            at, score = np.quantile(x, np.linspace(0, 1, KNOTS), axis=0).T.astype(np.float32), ndtri(share)
            knots, scores = np.empty_like(at), np.empty_like(at)
            for j, row in enumerate(at):
                places, which = np.unique(row, return_inverse=True)  # tied quantiles share their mean score
                mean = np.bincount(which, score) / np.bincount(which)
                k = len(places)
                knots[j, :k], scores[j, :k] = places, mean if k > 1 else 0.0
                knots[j, k:], scores[j, k:] = places[-1], scores[j, k - 1]
            self.knots.copy_(torch.from_numpy(knots))
            self.scores.copy_(torch.from_numpy(scores))
        self.fitted.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        """(..., W) to the same shape, float32; unchanged where nothing was fitted."""
        if self.kind == "none" or not self.fitted:
            return x
        x = x.float()
        if self.kind == "clip":
            return ((x - self.centre) / self.scale).clamp(-CLIP, CLIP)
        flat = x.reshape(-1, x.shape[-1]).T.contiguous()  # one row a feature, as searchsorted wants it
        upper = torch.searchsorted(self.knots, flat).clamp_(1, KNOTS - 1)
        lower = upper - 1
        left, right = self.knots.gather(1, lower), self.knots.gather(1, upper)
        start, end = self.scores.gather(1, lower), self.scores.gather(1, upper)
        gap = right - left
        part = torch.where(gap > 0, (flat - left) / gap.clamp(min=torch.finfo(torch.float32).tiny), 1.0).clamp(0, 1)
        return torch.lerp(start, end, part).T.reshape(x.shape)


class Sample:
    """Rows of training bags to fit `InputScaling` on: as many of each slide, at most `ROWS` in all.

    Parameters
    ----------
    slides : int
        Bags that will be added.
    """

    def __init__(self, slides: int) -> None:
        self.each = max(1, ROWS // max(slides, 1))
        self.rows: list[Tensor] = []

    def add(self, bag: Tensor) -> None:
        """Take rows of a bag (N, W)."""
        self.rows.append(spread_rows(bag, self.each).float())

    def result(self) -> Tensor:
        """All rows taken, (n, W)."""
        return torch.cat(self.rows)
