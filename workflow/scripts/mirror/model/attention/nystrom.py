"""Nystroem attention (Xiong et al., AAAI 2021, arXiv 2102.03902) in the form that TransMIL uses."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

PinvScaling = Literal["matrix", "batch"]
PINV_STEPS = 6


def pinv_scale(x: Tensor, scaling: PinvScaling) -> Tensor:
    """Largest row sum times largest column sum of the matrices to invert.

    Parameters
    ----------
    x : Tensor, float32 (..., m, m)
        Non-negative matrices (softmax output).
    scaling : {"matrix", "batch"}
        A value for each matrix, or one for all as in the reference, where a slide's result
        therefore depends on the slides beside it.

    Returns
    -------
    Tensor (..., 1, 1)
    """
    rows, columns = x.abs().sum(-1), x.abs().sum(-2)
    if scaling == "batch":
        return rows.max() * columns.max()
    return (rows.amax(-1) * columns.amax(-1))[..., None, None]


def iterative_pinv(x: Tensor, scaling: PinvScaling = "matrix", steps: int = PINV_STEPS) -> Tensor:
    """Moore-Penrose inverse by the third-order iteration of Razavi et al. (2014).

    Parameters
    ----------
    x : Tensor, float32 (..., m, m)
    scaling : see `pinv_scale`
    steps : int
        Iterations; six are published and do not converge for ill-conditioned matrices.

    Returns
    -------
    Tensor (..., m, m)
    """
    z = x.transpose(-1, -2) / pinv_scale(x, scaling)
    eye = torch.eye(x.shape[-1], device=x.device, dtype=x.dtype)
    for _ in range(steps):
        xz = x @ z
        z = 0.25 * z @ (13 * eye - xz @ (15 * eye - xz @ (7 * eye - xz)))
    return z


def landmark_means(x: Tensor, landmarks: int) -> Tensor:
    """Means of consecutive segments: (..., n, d) to (..., landmarks, d); ``landmarks`` divides n."""
    return x.unflatten(-2, (landmarks, -1)).mean(-2)


def front_padding(n: int, landmarks: int) -> int:
    """Zero rows put in front of n tokens so that the landmarks divide them."""
    return -n % landmarks


def nystrom_attention(
    q: Tensor, k: Tensor, v: Tensor, landmarks: int, scaling: PinvScaling = "matrix", asked: Tensor | None = None
) -> Tensor:
    """softmax(q k_l') pinv(softmax(q_l k_l')) softmax(q_l k') v.

    Parameters
    ----------
    q, k, v : Tensor (B, H, n, d)
        Queries already scaled; ``landmarks`` divides n.
    landmarks : int
        Landmarks m.
    scaling : see `pinv_scale`
    asked : Tensor (B, H, r, d), optional
        Queries whose result is wanted, where those are not all.

    Returns
    -------
    Tensor (B, H, n, d), or (B, H, r, d)
    """
    left, core, right = _factors(q, k, landmarks, asked)
    # The narrow product first: (m, m) @ (m, d) instead of (n, m) @ (m, m).
    return left @ (iterative_pinv(core, scaling).to(v.dtype) @ (right @ v))


def nystrom_row(q: Tensor, k: Tensor, row: int, landmarks: int, scaling: PinvScaling = "matrix") -> Tensor:
    """One row of the approximated attention matrix: (B, H, n). Entries may be slightly negative."""
    left, core, right = _factors(q, k, landmarks, q[..., row : row + 1, :])
    return ((left @ iterative_pinv(core, scaling)) @ right).squeeze(-2)


def _factors(q: Tensor, k: Tensor, landmarks: int, asked: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    q_l, k_l = landmark_means(q, landmarks), landmark_means(k, landmarks)
    left = torch.softmax((q if asked is None else asked) @ k_l.transpose(-1, -2), -1)
    right = torch.softmax(q_l @ k.transpose(-1, -2), -1)
    with torch.autocast(q.device.type, enabled=False):
        # The inverse needs full precision whatever the autocast says.
        full = torch.promote_types(q_l.dtype, torch.float32)
        core = torch.softmax(q_l.to(full) @ k_l.to(full).transpose(-1, -2), -1)
    return left, core, right


def pad_front(x: Tensor, rows: int) -> Tensor:
    """``rows`` zero rows in front of the tokens of x (B, n, D)."""
    return F.pad(x, (0, 0, rows, 0)) if rows else x
