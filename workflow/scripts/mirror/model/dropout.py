"""Dropout that draws where it falls, not whether, added to the residual in the same breath."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Above this probability the places outweigh a mask.
MOST = 0.25


def dropped_places(n: int, p: float) -> Tensor:
    """Which of n independent entries fall, each with probability p: their places, int64, ascending.

    The gaps between them are geometric, so that one number is drawn for each entry that falls
    instead of one for each entry.
    """
    places, last = [], -1
    while last < n:
        count = int((n - last) * p + 6 * math.sqrt(n * p)) + 1
        gaps = torch.rand(count, dtype=torch.float64).neg_().log1p_().div_(math.log1p(-p)).floor_().add_(1)
        places.append(gaps.cumsum_(0).add_(last).long())
        last = int(places[-1][-1])
    return torch.cat([*places[:-1], places[-1][: int((places[-1] < n).sum())]])


class _DroppedSum(torch.autograd.Function):
    """x + dropout(y)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, p: float) -> Tensor:
        """x, y : Tensor (...) of one shape."""
        places = dropped_places(y.numel(), p)
        ctx.scale = 1 / (1 - p)
        ctx.save_for_backward(places)
        out = torch.add(x, y, alpha=ctx.scale).contiguous()
        out.view(-1).scatter_(0, places, x.take(places))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients of x and y."""
        (places,) = ctx.saved_tensors
        scaled = (grad * ctx.scale).contiguous()
        scaled.view(-1).scatter_(0, places, 0.0)
        return grad, scaled, None


def add_dropped(x: Tensor, y: Tensor, p: float, training: bool) -> Tensor:
    """x + dropout(y) for x and y of one shape; the quick form is for a CPU."""
    if training and 0 < p <= MOST and y.is_cpu and x.dtype == y.dtype:
        return _DroppedSum.apply(x, y, p)
    return x + F.dropout(y, p, training)
