"""The depthwise convolution of the values along the sequence, one kernel a head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def as_image(values: Tensor) -> Tensor:
    """(B, n, D) as an image (B, D, n, 1) whose channels lie side by side, which vectorises best."""
    return values.transpose(1, 2)[..., None].contiguous(memory_format=torch.channels_last)


def channel_kernels(kernel: Tensor, channels: int) -> Tensor:
    """The heads' kernels (H, 1, w, 1) for each of their channels, (D, 1, w, 1)."""
    return kernel.repeat_interleave(channels // len(kernel), 0)


def value_convolution(values: Tensor, kernel: Tensor) -> Tensor:
    """Convolve values (B, n, D), heads side by side, with kernels (H, 1, w, 1): (B, n, D)."""
    kernels = channel_kernels(kernel, values.shape[-1])
    out = F.conv2d(as_image(values), kernels, padding=(kernel.shape[2] // 2, 0), groups=len(kernels))
    return out[..., 0].transpose(1, 2)


def value_convolution_backward(grad: Tensor, values: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the values (B, n, D) and of the channels' kernels (D, 1, w, 1)."""
    padding = [kernels.shape[2] // 2, 0]
    grad_image, grad_kernels, _ = torch.ops.aten.convolution_backward(
        as_image(grad), as_image(values), kernels, None, [1, 1], padding, [1, 1], False, [0, 0], len(kernels),
        [True, True, False],
    )  # fmt: skip
    return grad_image[..., 0].transpose(1, 2), grad_kernels
