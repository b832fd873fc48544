"""The iterative pseudo-inverse of `nystrom.iterative_pinv`, evaluated through eigenvalues.

With X the matrix, c its scale and Z0 = X'/c, every iterate is Z0 times a polynomial of the
symmetric matrix W = X X'/c:

    w_0 = w,  w_{k+1} = w_k g(w_k),  g(w) = (13 - 15 w + 7 w^2 - w^3) / 4
    Z_6 = X'/c . Q(W),  Q(w) = g(w_0) ... g(w_5)

So the six steps (24 products of m x m matrices, 72 with their gradient) become one
eigendecomposition W = U diag(w) U' and a polynomial of m numbers. What is applied to a thin
matrix y needs thin products only, and the gradient of Q(W) is the Daleckii-Krein formula:
U (F o U' G U) U' with the divided differences F of Q. It is the same function in exact
arithmetic, for converged and unconverged iterations alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .nystrom import PINV_STEPS

# Below this distance, two eigenvalues share the derivative at their midpoint.
CLOSE = 1e-12


def iteration_polynomial(w: Tensor, steps: int = PINV_STEPS) -> tuple[Tensor, Tensor]:
    """Q(w) and Q'(w), elementwise, float64 (m,) each."""
    w = w.double()
    q, dq, dw = torch.ones_like(w), torch.zeros_like(w), torch.ones_like(w)
    for _ in range(steps):
        g = 0.25 * (13 - w * (15 - w * (7 - w)))
        dg = 0.25 * (-15 + w * (14 - 3 * w)) * dw
        q, dq = q * g, dq * g + q * dg
        w, dw = w * g, dw * g + w * dg
    return q, dq


def divided_differences(w: Tensor, q: Tensor, dq: Tensor) -> Tensor:
    """(Q(w_i) - Q(w_j)) / (w_i - w_j), Q' on the diagonal: float64 (m, m)."""
    w = w.double()
    gaps = w[:, None] - w[None]
    close = gaps.abs() < CLOSE
    return torch.where(close, 0.5 * (dq[:, None] + dq[None]), (q[:, None] - q[None]) / gaps.masked_fill(close, 1.0))


@dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition of W = X X'/c for one matrix X.

    Attributes
    ----------
    scale : Tensor ()
    values : Tensor float64 (m,)
    vectors, images : Tensor (m, m)
        U and X'U. The columns of X'U are as small as the singular values, which tames the large
        Q(w) that they meet; X'(U Q(w)) would lose that in rounding.
    """

    scale: Tensor
    values: Tensor
    vectors: Tensor
    images: Tensor

    @classmethod
    def of(cls, x: Tensor, scale: Tensor) -> Spectrum:
        """Decompose. Where x (m, m) is not finite nothing is, so that a guard on the loss sees it."""
        # Q is steep at zero (slope -7e5): in single precision W's rounding would show.
        double = x.double()
        symmetric = double @ double.T / scale.double()
        if not torch.isfinite(symmetric).all():
            nothing = torch.full_like(x, torch.nan)
            return cls(scale, nothing[0].double(), nothing, nothing)
        values, vectors = torch.linalg.eigh(symmetric)
        return cls(scale, values, vectors.to(x.dtype), (double.T @ vectors).to(x.dtype))

    def apply(self, y: Tensor) -> Tensor:
        """Z y for y (m, d)."""
        q, _ = iteration_polynomial(self.values)
        return self.images @ ((q / self.scale).to(y.dtype)[:, None] * (self.vectors.T @ y))

    def backward(self, y: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of ``apply``.

        Parameters
        ----------
        y, grad : Tensor (m, d)
            The argument, and the gradient of the result.

        Returns
        -------
        grad_y : Tensor (m, d)
        grad_x : Tensor (m, m)
            With the scale held fixed.
        grad_scale : Tensor ()
        """
        q, dq = iteration_polynomial(self.values)
        f = divided_differences(self.values, q, dq).to(y.dtype)
        q = q.to(y.dtype)[:, None]
        a = self.images.T @ grad / self.scale
        b = self.vectors.T @ y
        grad_y = self.vectors @ (q * a)
        outer = a @ b.T
        inner = (q * b) @ grad.T + (f * (outer + outer.T)) @ self.images.T
        grad_x = self.vectors @ inner / self.scale
        # <Z y, grad> + <dW, W>, each with its own power of the scale.
        along = ((q * b) * a).sum() + (f.diagonal() * outer.diagonal() * self.values.to(f.dtype)).sum()
        return grad_y, grad_x, -along / self.scale
