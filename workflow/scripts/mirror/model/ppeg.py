"""PPEG: positions from convolutions over the square of tokens (TransMIL, Shao et al., NeurIPS 2021)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def square_side(n: int) -> int:
    """Side of the smallest square that holds n tokens."""
    return math.isqrt(n - 1) + 1 if n > 0 else 0


class _Square(torch.autograd.Function):
    """See `to_square`. Its gradient is written once, where autograd would pad and add."""

    @staticmethod
    def forward(ctx: Any, cls: Tensor, tokens: Tensor) -> Tensor:
        """cls (1, 1, D) and tokens (B, n, D) to (B, 1 + s * s, D)."""
        ctx.n = tokens.shape[1]
        repeated = tokens[:, : square_side(ctx.n) ** 2 - ctx.n]
        return torch.cat([cls.expand(len(tokens), -1, -1), tokens, repeated], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of both."""
        tokens, repeated = grad[:, 1 : 1 + ctx.n].clone(memory_format=torch.contiguous_format), grad[:, 1 + ctx.n :]
        tokens[:, : repeated.shape[1]] += repeated
        return grad[:, :1].sum(0, keepdim=True), tokens


def to_square(cls: Tensor, tokens: Tensor) -> Tensor:
    """CLS (1, 1, D), the tokens (B, n, D), and the first of them again until they fill a square: (B, 1 + s * s, D)."""
    return _Square.apply(cls.to(tokens.dtype), tokens)


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
        side = square_side(x.shape[1] - 1)
        cls, tokens = x.split([1, side * side], 1)
        kernel = self.conv7.weight + F.pad(self.conv5.weight, [1] * 4) + F.pad(self.conv3.weight, [2] * 4)
        bias = self.conv7.bias + self.conv5.bias + self.conv3.bias  # type: ignore[operator]
        grid = tokens.unflatten(1, (side, side)).permute(0, 3, 1, 2)  # channels last, no copy
        grid = grid + F.conv2d(grid, kernel, bias, padding=3, groups=grid.shape[1])
        return torch.cat([cls, grid.permute(0, 2, 3, 1).flatten(1, 2)], 1)
