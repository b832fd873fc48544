"""PPEG: positions from convolutions over the square of tokens (TransMIL, Shao et al., NeurIPS 2021)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def square_side(n: int) -> int:
    """Side of the smallest square that holds n tokens."""
    return math.isqrt(n - 1) + 1 if n > 0 else 0


def pad_to_square(tokens: Tensor) -> Tensor:
    """Repeat the first tokens until they fill a square: (B, n, D) to (B, s * s, D)."""
    n = tokens.shape[1]
    return torch.cat([tokens, tokens[:, : square_side(n) ** 2 - n]], 1)


class PPEG(nn.Module):
    """Three depthwise convolutions (7, 5 and 3 wide) and the identity, summed.

    They are one linear map of the same neighbourhood, so they run as a single 7-wide
    convolution whose kernel is the sum of the three (centred); the identity is added.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv7 = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.conv5 = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.conv3 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 + s * s, D), CLS first, to the same shape; CLS passes by."""
        cls, tokens = x[:, :1], x[:, 1:]
        side = square_side(tokens.shape[1])
        kernel = self.conv7.weight + F.pad(self.conv5.weight, [1] * 4) + F.pad(self.conv3.weight, [2] * 4)
        bias = self.conv7.bias + self.conv5.bias + self.conv3.bias
        grid = tokens.unflatten(1, (side, side)).permute(0, 3, 1, 2)  # channels last, no copy
        grid = grid + F.conv2d(grid, kernel, bias, padding=3, groups=grid.shape[1])
        return torch.cat([cls, grid.permute(0, 2, 3, 1).flatten(1, 2)], 1)
