"""Bags of different lengths in one batch: each is computed at its own length."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def compact(bags: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the rows that exist to the front.

    Parameters
    ----------
    bags : Tensor (B, N, W)
    mask : Tensor bool (B, N)
        True where a row exists; each bag needs one.

    Returns
    -------
    bags : Tensor (B, longest, W)
        Zeros behind each bag's rows.
    lengths : Tensor int64 (B,)
    """
    lengths = mask.sum(1)
    if int(lengths.min()) == 0:
        raise ValueError(f"bag {int(lengths.argmin())} of the batch is empty")
    order = torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)[:, : int(lengths.max())]
    rows = torch.take_along_dim(bags, order[..., None], 1)
    return rows * valid_rows(lengths, rows.shape[1])[..., None], lengths


def valid_rows(lengths: Tensor, n: int) -> Tensor:
    """bool (B, n): True for the first ``lengths`` entries of each row."""
    return torch.arange(n, device=lengths.device) < lengths[:, None]


def by_length(
    function: Callable[..., Tensor], lengths: Tensor | None, *tensors: Tensor, longest: int, fixed: bool = False
) -> Tensor:
    """Apply a function of whole bags to groups of equal length.

    No bag sees padding or another's length: the square of tokens, the landmarks and the
    convolutions depend on the length, so masking inside them would change the result.

    Parameters
    ----------
    function : callable
        Takes tensors (b, n + e, ...) and returns (b, n + e', ...) for fixed e, e'.
    lengths : Tensor int64 (B,) or None
        None runs the batch whole.
    tensors : Tensor (B, longest + e, ...)
    longest : int
    fixed : bool
        The function returns (b, k, ...) with the same k for every n.

    Returns
    -------
    Tensor (B, longest + e', ...), zeros behind each bag; (B, k, ...) where ``fixed``
    """
    if lengths is None:
        return function(*tensors)
    pieces: list[Tensor | None] = [None] * len(lengths)
    for n in torch.unique(lengths).tolist():
        rows = torch.nonzero(lengths == n)[:, 0]
        out = function(*(t[rows, : n + t.shape[1] - longest] for t in tensors))
        if not fixed:
            out = F.pad(out, (0, 0, 0, longest - n))
        for row, piece in zip(rows.tolist(), out, strict=True):
            pieces[row] = piece
    return torch.stack([piece for piece in pieces if piece is not None])
