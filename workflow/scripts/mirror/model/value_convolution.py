"""The depthwise convolution of the values along the sequence, one kernel a head."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def _as_image(values: Tensor) -> Tensor:
    """(B, n, D) as an image (B, D, n, 1) whose channels lie side by side, which vectorises best."""
    return values.transpose(1, 2)[..., None].contiguous(memory_format=torch.channels_last)


def _channel_kernels(kernel: Tensor, channels: int) -> Tensor:
    """The heads' kernels (H, 1, w, 1) for each of their channels, (D, 1, w, 1)."""
    return kernel.repeat_interleave(channels // len(kernel), 0)


def convolve(values: Tensor, kernel: Tensor) -> Tensor:
    """Convolve values (B, n, D), heads side by side, with kernels (H, 1, w, 1): (B, n, D)."""
    kernels = _channel_kernels(kernel, values.shape[-1])
    out = F.conv2d(_as_image(values), kernels, padding=(kernel.shape[2] // 2, 0), groups=len(kernels))
    return out[..., 0].transpose(1, 2)


def convolve_backward(grad: Tensor, values: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the values (B, n, D) and of the heads' kernels (H, 1, w, 1)."""
    kernels = _channel_kernels(kernel, values.shape[-1])
    padding = [kernel.shape[2] // 2, 0]
    grad_image, grad_kernels, _ = torch.ops.aten.convolution_backward(
        _as_image(grad), _as_image(values), kernels, None, [1, 1], padding, [1, 1], False, [0, 0], len(kernels),
        [True, True, False],
    )  # fmt: skip
    return grad_image[..., 0].transpose(1, 2), grad_kernels.unflatten(0, (len(kernel), -1)).sum(1)


class ValueConvolution(torch.autograd.Function):
    """`convolve` that keeps the values as they are, not the image of them, for the gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, kernel: Tensor) -> Tensor:
        """See `convolve`; under autocast the values' dtype is used."""
        ctx.save_for_backward(values, kernel)
        return convolve(values, kernel.to(values.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """See `convolve_backward`."""
        values, kernel = ctx.saved_tensors
        grad_values, grad_kernel = convolve_backward(grad.to(values.dtype), values, kernel.to(values.dtype))
        return grad_values, grad_kernel.to(kernel.dtype)


def value_convolution(values: Tensor, kernel: Tensor) -> Tensor:
    """See `convolve`; differentiable."""
    return ValueConvolution.apply(values, kernel)
