"""The depthwise convolution of the values along the sequence, one kernel a head.

On a CPU it runs a head at a time as a product with the kernel's band matrix: two thirds of
what is multiplied is zero, and still it is several times as fast as a depthwise convolution.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..token_rows import Rows, places, spread, take
from .thread_pool import for_each

BLOCK = 64
# Up to so many rows one product over all heads and samples is faster than a product a head and sample.
SHORT = 8


def band(kernel: Tensor) -> Tensor:
    """Kernel (w,) to the matrix (BLOCK, BLOCK + w - 1) whose row i holds it from column i on."""
    out = kernel.new_zeros(BLOCK, BLOCK + len(kernel) - 1)
    _diagonals(out, len(kernel)).copy_(kernel)
    return out


def _diagonals(matrix: Tensor, width: int) -> Tensor:
    """View (BLOCK, width) of the band of a matrix."""
    return matrix.as_strided((BLOCK, width), (matrix.shape[1] + 1, 1))


def _windows(rows: Tensor, width: int) -> Tensor:
    """Overlapping stretches (blocks, BLOCK + width - 1, d) of rows (n, d), as far as a block's kernels reach."""
    n, d = rows.shape
    blocks = -(-n // BLOCK)
    padded = rows.new_zeros(blocks * BLOCK + width - 1, d)
    padded[width // 2 : width // 2 + n] = rows
    return padded.as_strided((blocks, BLOCK + width - 1, d), (BLOCK * d, d, 1))


def convolve_head(values: Tensor, kernel: Tensor) -> Tensor:
    """Convolve values (n, d) of a head with its kernel (w,), w odd: (n, d)."""
    windows = _windows(values, len(kernel))
    return torch.bmm(band(kernel).expand(len(windows), -1, -1), windows).flatten(0, 1)[: len(values)]


def convolve_head_backward(grad: Tensor, values: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the values (n, d) and of the kernel (w,) of a head."""
    windows = _windows(values, len(kernel))
    blocks = F.pad(grad, (0, 0, 0, len(windows) * BLOCK - len(grad))).unflatten(0, (-1, BLOCK))
    bands = torch.bmm(blocks, windows.transpose(1, 2)).sum(0)
    return convolve_head(grad, kernel.flip(0)), _diagonals(bands, len(kernel)).sum(0)


class HeadConvolution(torch.autograd.Function):
    """Rows of the convolution of values, heads side by side, added to what attention made of them; on a CPU."""

    @staticmethod
    def forward(ctx: Any, mixed: Tensor, values: Tensor, kernel: Tensor, rows: Rows) -> Tensor:
        """mixed (B, k, D), values (B, n, D) and kernel (H, 1, w, 1) to (B, k, D)."""
        ctx.save_for_backward(values, kernel)
        ctx.rows = rows
        out = torch.empty(mixed.shape, dtype=mixed.dtype)
        trio = tuple(x.unflatten(-1, (len(kernel), -1)) for x in (out, mixed, values))

        def one_head(at: tuple[int, int]) -> None:
            to, head_mixed, head = (x[at[0], :, at[1]] for x in trio)
            torch.add(head_mixed, convolve_head(head, kernel[at[1], 0, :, 0])[places(rows, at[0])], out=to)

        for_each(one_head, product(range(len(values)), range(len(kernel))))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of the three."""
        (values, kernel), rows = ctx.saved_tensors, ctx.rows
        out = torch.empty(values.shape, dtype=values.dtype)
        grad_kernel = kernel.new_empty(len(values), *kernel.shape)
        trio = tuple(x.unflatten(-1, (len(kernel), -1)) for x in (out, grad, values))

        def one_head(at: tuple[int, int]) -> None:
            to, head_grad, head = (x[at[0], :, at[1]] for x in trio)
            wide = spread(head_grad, places(rows, at[0]), len(head))
            found, grad_kernel[at][0, :, 0] = convolve_head_backward(wide, head, kernel[at[1], 0, :, 0])
            to.copy_(found)

        for_each(one_head, product(range(len(values)), range(len(kernel))))
        return grad, out, grad_kernel.sum(0), None


class ImageConvolution(torch.autograd.Function):
    """The same as one depthwise convolution; keeps the values as they are, not the image of them."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, kernel: Tensor) -> Tensor:
        """To (B, n, D); under autocast the values' dtype is used."""
        ctx.save_for_backward(values, kernel)
        kernels = _channel_kernels(kernel.to(values.dtype), values.shape[-1])
        out = F.conv2d(_as_image(values), kernels, padding=(kernel.shape[2] // 2, 0), groups=len(kernels))
        return out[..., 0].transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of both."""
        values, kernel = ctx.saved_tensors
        kernels = _channel_kernels(kernel.to(values.dtype), values.shape[-1])
        padding = [kernel.shape[2] // 2, 0]
        grad_image, grad_kernels, _ = torch.ops.aten.convolution_backward(
            _as_image(grad.to(values.dtype)), _as_image(values), kernels, None,
            [1, 1], padding, [1, 1], False, [0, 0], len(kernels), [True, True, False],
        )  # fmt: skip
        grad_kernel = grad_kernels.unflatten(0, (len(kernel), -1)).sum(1)
        return grad_image[..., 0].transpose(1, 2), grad_kernel.to(kernel.dtype)


def _as_image(values: Tensor) -> Tensor:
    """(B, n, D) as an image (B, D, n, 1) whose channels lie side by side, which vectorises best."""
    return values.transpose(1, 2)[..., None].contiguous(memory_format=torch.channels_last)


def _channel_kernels(kernel: Tensor, channels: int) -> Tensor:
    """The heads' kernels (H, 1, w, 1) for each of their channels, (D, 1, w, 1)."""
    return kernel.repeat_interleave(channels // len(kernel), 0)


def convolve_short(values: Tensor, kernel: Tensor) -> Tensor:
    """The convolution of a few rows as one product with each head's matrix; differentiable.

    Parameters
    ----------
    values : Tensor (B, n, D)
    kernel : Tensor (H, 1, w, 1)

    Returns
    -------
    Tensor (B, n, D)
    """
    n, width = values.shape[1], kernel.shape[2]
    place = torch.arange(n, device=values.device)
    at = place[None] - place[:, None] + width // 2
    matrix = kernel[:, 0, :, 0][:, at.clamp(0, width - 1)] * ((at >= 0) & (at < width))
    heads = values.unflatten(-1, (len(kernel), -1)).transpose(1, 2)
    return (matrix @ heads).transpose(1, 2).flatten(2)


def add_value_convolution(mixed: Tensor, values: Tensor, kernel: Tensor, rows: Rows = None) -> Tensor:
    """Add the convolution of the values along the sequence; differentiable.

    Parameters
    ----------
    mixed : Tensor (B, k, D)
    values : Tensor (B, n, D)
        Heads side by side.
    kernel : Tensor (H, 1, w, 1), w odd
    rows : see `rows.Rows`
        Which of the n rows mixed holds.

    Returns
    -------
    Tensor (B, k, D)
    """
    if isinstance(rows, int):
        values = values[:, : rows + kernel.shape[2] // 2]  # as far as their kernels reach
    if values.is_cpu and values.dtype == kernel.dtype == mixed.dtype and values.shape[1] <= SHORT:
        return mixed + take(convolve_short(values, kernel), rows)
    if values.is_cpu and values.dtype == kernel.dtype == mixed.dtype:
        return HeadConvolution.apply(mixed, values, kernel, rows)
    return mixed + take(ImageConvolution.apply(values, kernel), rows)
