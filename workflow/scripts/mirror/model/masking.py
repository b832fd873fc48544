"""Input masking: what of a bag or of a profile the encoders see in training."""

from __future__ import annotations

import torch
from torch import Tensor

from .noise import kept, mask_from_noise, uniform


def hide_features(bags: Tensor, mask: Tensor | None, ratio: float, noise: Tensor | None) -> Tensor:
    """Hide a random share of the features of bags of one patch, or of equal ones.

    Hidden patches say nothing less of such a bag. A bag of different patches is left to `hide_patches`:
    hiding features as well costs retrieval there.

    Parameters
    ----------
    bags : Tensor
        float (B, N, F).
    mask : Tensor or None
        bool (B, N), False where a bag is padded.
    ratio : float
        Share of the features that is hidden; the others are scaled up, as in dropout.
    noise : Tensor or None
        Uniform draws to use in place of new ones.

    Returns
    -------
    Tensor
        As ``bags``.
    """
    if ratio == 0:
        return bags
    same = bags == bags[:, :1]
    if mask is not None:
        same = same | ~mask[..., None]
    one = same.flatten(1).all(1)[:, None, None]
    hidden = uniform(noise, bags, (len(bags), 1, bags.shape[-1])) < ratio
    return torch.where(one, bags.masked_fill(hidden, 0.0) / (1 - ratio), bags)


def hide_patches(bags: Tensor, mask: Tensor | None, ratio: float, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Leave out a random share of the patches.

    Parameters
    ----------
    bags, mask, ratio, noise
        As in `hide_features`; a share of the patches.

    Returns
    -------
    bags : Tensor
        float (B, M, F), M = N where there is a mask.
    mask : Tensor or None
        bool (B, M), False where a patch is padded or hidden; at least one patch per bag is kept.
    """
    if ratio == 0:
        return bags, mask
    noise = uniform(noise, bags, bags.shape[:2])
    if mask is not None:
        hidden = mask_from_noise(noise, ratio, mask)
        keep = mask & ~hidden
        return bags, keep | (~keep.any(1, keepdim=True) & mask)
    order = noise.argsort(1)[:, : max(kept(ratio, bags.shape[1]), 1)]
    return torch.take_along_dim(bags, order[..., None], 1), None


def hide_genes(rna: Tensor, ratio: float, noise: Tensor | None) -> Tensor:
    """Set a random share of the genes to zero (their mean); the others are scaled up, as in dropout.

    Parameters
    ----------
    rna : Tensor
        float (B, G), standardised.
    ratio, noise
        As in `hide_features`; a share of the genes.

    Returns
    -------
    Tensor
        As ``rna``.
    """
    if ratio == 0:
        return rna
    hidden = uniform(noise, rna, rna.shape) < ratio
    return rna.masked_fill(hidden, 0.0) / (1 - ratio)
