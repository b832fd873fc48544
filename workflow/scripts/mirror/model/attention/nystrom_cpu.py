"""Nystroem attention for a CPU: one head at a time, nothing of size n x m kept for the gradient.

Same function as `nystrom.nystrom_attention` with the values' convolution added. What it
saves: the landmark products are recomputed in the backward pass head by head (3 MB at a
time, which stays in the cache), zero padding is handled where it matters instead of being
computed, and the pseudo-inverse goes through `spectral_pinv`.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..token_rows import Rows, places, spread
from .nystrom import PinvScaling, front_padding
from .spectral_pinv import Spectrum
from .thread_pool import for_each
from .value_convolution import convolve_head, convolve_head_backward


class Segments:
    """Means of the consecutive segments of a sequence that is zero-padded in front.

    Parameters
    ----------
    n, landmarks : int
        Rows and segments.
    """

    def __init__(self, n: int, landmarks: int) -> None:
        self.padding = front_padding(n, landmarks)
        self.length = (n + self.padding) // landmarks
        self.landmarks = landmarks
        self.first = self.padding // self.length  # segments of padding alone
        self.partial = -self.padding % self.length  # rows of the segment that is part padding

    def mean(self, rows: Tensor) -> Tensor:
        """(n, ...) to (landmarks, ...)."""
        out = rows.new_zeros((self.landmarks, *rows.shape[1:]))
        start = self.first + (self.partial > 0)
        if self.partial:
            out[self.first] = rows[: self.partial].sum(0) / self.length
        out[start:] = rows[self.partial :].unflatten(0, (-1, self.length)).mean(1)
        return out

    def add_gradient(self, into: Tensor, grad: Tensor) -> None:
        """Add the gradient of `mean`, given that of its result, to ``into`` (n, ...)."""
        start = self.first + (self.partial > 0)
        if self.partial:
            into[: self.partial] += grad[self.first] / self.length
        into[self.partial :].unflatten(0, (-1, self.length)).add_((grad[start:] / self.length)[:, None])


def _scales(core: Tensor, scaling: PinvScaling) -> tuple[Tensor, Tensor]:
    """Scale of each matrix (B, H), and d scale / d core along the largest columns (rows sum to one)."""
    rows, columns = core.sum(-1), core.sum(-2)
    if scaling == "batch":
        row, column = rows.max(), columns.max()
        largest = (columns == column).to(core.dtype)
        return (row * column).expand(core.shape[:2]), row * largest / largest.sum()
    row, column = rows.amax(-1), columns.amax(-1)
    largest = (columns == column[..., None]).to(core.dtype)
    return row * column, row[..., None] * largest / largest.sum(-1, keepdim=True)


class NystromCPU(torch.autograd.Function):
    """See the module's docstring. Apply as ``NystromCPU.apply(qkv, kernel, heads, landmarks, scaling, rows)``."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, kernel: Tensor, heads: int, landmarks: int, scaling: PinvScaling, rows: Rows = None
    ) -> Tensor:
        """Attention and the convolution of the values.

        Parameters
        ----------
        qkv : Tensor, float32 (B, n, 3 D)
        kernel : Tensor (H, 1, w, 1)
        heads, landmarks, scaling : see `nystrom.nystrom_attention`
        rows : see `rows.Rows`

        Returns
        -------
        Tensor (B, n, D) or (B, k, D)
        """
        batch, n, _ = qkv.shape
        parts = qkv.unflatten(-1, (3, heads, -1))
        width = parts.shape[-1]
        segments, scale = Segments(n, landmarks), width**-0.5
        # (B, m, 2, H, d): scaled query landmarks and key landmarks.
        means = torch.stack([segments.mean(sample[:, :2]) for sample in parts])
        means[:, :, 0] *= scale
        q_l, k_l = means[:, :, 0].transpose(1, 2), means[:, :, 1].transpose(1, 2)
        core = torch.softmax(q_l @ k_l.transpose(-1, -2), -1)
        scales, _ = _scales(core, scaling)
        asked = n if rows is None else rows if isinstance(rows, int) else rows.shape[1]
        out = qkv.new_empty(batch, asked, heads * width)
        kept = any(ctx.needs_input_grad)
        mixed = qkv.new_empty((batch, heads, landmarks, width) if kept else (0,))
        inner = torch.empty_like(mixed)
        values = qkv.new_empty((batch, heads, landmarks) if kept else (0,), dtype=torch.float64)
        vectors = torch.empty_like(core if kept else mixed)
        images = torch.empty_like(vectors)

        def one_head(at: tuple[int, int]) -> None:
            b, h = at
            q, k, v = parts[b, :, :, h].unbind(1)
            spectrum = Spectrum.of(core[at], scales[at])
            y = _right(q_l[at], k, segments.padding) @ v
            t = spectrum.apply(y)
            left = torch.softmax(q[places(rows, b)] @ (k_l[at] * scale).T, -1)
            local = convolve_head(v, kernel[h, 0, :, 0])[places(rows, b)]
            out[b, :, h * width : (h + 1) * width] = local.addmm_(left, t)
            if kept:
                mixed[at], inner[at] = y, t
                values[at], vectors[at], images[at] = spectrum.values, spectrum.vectors, spectrum.images

        for_each(one_head, product(range(batch), range(heads)))
        if kept:
            ctx.save_for_backward(qkv, kernel, means, core, mixed, inner, values, vectors, images)
            ctx.heads, ctx.segments, ctx.scaling, ctx.rows = heads, segments, scaling, rows
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        """Gradients of ``qkv`` and ``kernel``."""
        qkv, kernel, means, core, mixed, inner, values, vectors, images = ctx.saved_tensors
        heads, segments, rows = ctx.heads, ctx.segments, ctx.rows
        parts = qkv.unflatten(-1, (3, heads, -1))
        d = parts.shape[-1]
        scale, padding = d**-0.5, segments.padding
        out, grad_kernel = torch.empty_like(qkv), kernel.new_empty(len(qkv), *kernel.shape)
        into = out.unflatten(-1, (3, heads, -1))
        q_l, k_l = means[:, :, 0].transpose(1, 2), means[:, :, 1].transpose(1, 2)
        scales, along = _scales(core, ctx.scaling)
        grad_core, grad_scale = torch.empty_like(core), torch.empty_like(scales)
        grad_means = torch.zeros_like(means)

        def one_head(at: tuple[int, int]) -> None:
            b, h = at
            q, k, v = parts[b, :, :, h].unbind(1)
            g = grad[b, :, h * d : (h + 1) * d]
            wide = spread(g, places(rows, b), len(q))
            grad_v, grad_kernel[at][0, :, 0] = convolve_head_backward(wide, v, kernel[h, 0, :, 0])
            y, t = mixed[at], inner[at]
            # out = left t, for the rows that were asked for
            k_scaled, asked = k_l[at] * scale, q[places(rows, b)]
            left = torch.softmax(asked @ k_scaled.T, -1)
            grad_t = left.T @ g
            grad_left = _softmax_backward(g @ t.T, left)
            into[b, :, 0, h] = spread(grad_left @ k_scaled, places(rows, b), len(q))
            grad_means[b, :, 1, h] += (grad_left.T @ asked) * scale
            del left, grad_left
            # t = Z y
            spectrum = Spectrum(scales[at], values[at], vectors[at], images[at])
            grad_y, grad_core[at], grad_scale[at] = spectrum.backward(y, grad_t)
            # y = right v. Of the softmax over padding and tokens only the tokens' part is kept: the
            # padded values are zero, so that the sum over all entries is the one over these.
            right = _right(q_l[at], k, padding)
            into[b, :, 2, h] = grad_v.addmm_(right.T, grad_y)
            grad_right = _softmax_backward(grad_y @ v.T, right)
            grad_means[b, :, 0, h] += grad_right @ k
            torch.mm(grad_right.T, q_l[at], out=into[b, :, 1, h])

        for_each(one_head, product(range(len(qkv)), range(heads)))
        if ctx.scaling == "batch":
            grad_scale = grad_scale.sum().expand_as(grad_scale)
        grad_core += (grad_scale[..., None] * along)[..., None, :]
        grad_scores = _softmax_backward(grad_core, core)
        grad_means[:, :, 0] += (grad_scores @ k_l).transpose(1, 2)
        grad_means[:, :, 1] += (grad_scores.transpose(-1, -2) @ q_l).transpose(1, 2)
        grad_means[:, :, 0] *= scale
        for sample, means_of in zip(into, grad_means, strict=True):
            segments.add_gradient(sample[:, :2], means_of)
        return out, grad_kernel.sum(0), None, None, None, None


def _right(q_l: Tensor, k: Tensor, padding: int) -> Tensor:
    """Softmax of landmark queries over padding and keys, without the padding's columns: (m, n)."""
    if not padding:
        return torch.softmax(q_l @ k.T, -1)
    scores = q_l.new_zeros(len(q_l), padding + len(k))
    torch.mm(q_l, k.T, out=scores[:, padding:])
    return torch.softmax(scores, -1)[:, padding:]


def _softmax_backward(grad: Tensor, softmax: Tensor) -> Tensor:
    """Gradient of the scores, given that of their softmax."""
    return torch.ops.aten._softmax_backward_data(grad, softmax, -1, grad.dtype)
