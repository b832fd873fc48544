"""Every random draw of a forward pass (dropout apart), so that known draws can be fed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Noise of one batch; what is None is drawn when it is needed.

    Attributes
    ----------
    slide_mask : Tensor (B, N), uniform
        Decides which tokens slide retention masks.
    rna_mask : Tensor (B, D), uniform
        Decides which entries RNA retention masks.
    slide_style, rna_style : Tensor (B, L), standard normal
        Noise of the style latent.
    slide_input, rna_input : Tensor (B, N) and (B, G), uniform
        Decide which tokens and genes are hidden from the encoders (input masking).
    slide_features : Tensor (B, 1, D_p), uniform
        Decides which patch features are hidden from the slide encoder (input masking).
    """

    slide_mask: Tensor | None = None
    rna_mask: Tensor | None = None
    slide_style: Tensor | None = None
    rna_style: Tensor | None = None
    slide_input: Tensor | None = None
    rna_input: Tensor | None = None
    slide_features: Tensor | None = None

    def to(self, device: torch.device | str) -> Draws:
        """The same draws on ``device``."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Draws(**{name: None if v is None else v.to(device) for name, v in values.items()})


def uniform(given: Tensor | None, like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The given uniform draw, or a new one of this shape on the device of ``like``, float32."""
    return given if given is not None else torch.rand(shape, device=like.device)


def kept(ratio: float, n: int) -> int:
    """Entries of n that stay when a share ``ratio`` is masked: floor((1 - ratio) n)."""
    return math.floor(n * (1 - ratio))


def mask_from_noise(noise: Tensor, ratio: float, valid: Tensor | None = None) -> Tensor:
    """Which entries are masked: all but the smallest floor((1 - ratio) n) of the noise.

    Parameters
    ----------
    noise : Tensor (B, n)
    ratio : float
        Share masked.
    valid : Tensor bool (B, n), optional
        Entries that exist; n is then counted a row, and the others come back False.

    Returns
    -------
    Tensor bool (B, n)
        True where masked.
    """
    if valid is None:
        rank = noise.argsort(1).argsort(1)
        return rank >= kept(ratio, noise.shape[1])
    rank = noise.masked_fill(~valid, torch.inf).argsort(1).argsort(1)
    keep = torch.tensor([kept(ratio, int(n)) for n in valid.sum(1)], device=noise.device)
    return (rank >= keep[:, None]) & valid
