"""Some of the rows of a batch of tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Which tokens of each item: all, the first so many, or those at these places, int64 (B, k), all different.
Rows = int | Tensor | None


def take(x: Tensor, rows: Rows) -> Tensor:
    """Those rows of x (B, n, D): (B, k, D)."""
    if rows is None:
        return x
    if isinstance(rows, int):
        return x[:, :rows]
    start = torch.arange(len(x), device=x.device)[:, None] * x.shape[1]
    return look_up(x.flatten(0, 1), rows + start)


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Rows of table (R, D) at index int64 (B, k): (B, k, D). The gradient is summed in a fixed order."""
    return F.embedding(index, table)


def places(rows: Rows, item: int) -> slice | Tensor:
    """The index of one item's rows."""
    return rows[item] if isinstance(rows, Tensor) else slice(rows)


def spread(x: Tensor, at: slice | Tensor, n: int) -> Tensor:
    """Rows x (k, D) of an item at their places among n, zeros elsewhere: (n, D); x itself where they are all."""
    if len(x) == n and isinstance(at, slice):
        return x
    out = x.new_zeros(n, x.shape[1])
    out[at] = x
    return out
