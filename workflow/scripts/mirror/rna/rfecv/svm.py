"""The linear SVM with squared hinge loss, solved to rounding error from the Gram matrix.

scikit-learn's ``LinearSVC`` minimises, over the weights w and an intercept b that is regularised
like a weight (``intercept_scaling=1``)::

    P(w, b) = 1/2 (|w|^2 + b^2) + C sum_i max(0, 1 - y_i (w.x_i + b))^2

By the representer theorem w = X' beta and b = sum(beta), so P depends on the samples through
K = X X' + 1 alone. P is piecewise quadratic in beta; where the set S of support vectors
(y_i f_i < 1) is known, its minimum solves (K_SS + I / 2C) beta_S = y_S, beta elsewhere 0. Newton's
method on P is to solve, look which samples are support vectors now, and solve again; it ends after
finitely many steps at the exact minimum [1]_.

References
----------
.. [1] Chapelle, Training a support vector machine in the primal, Neural Computation 19:1155-1178,
   2007. Keerthi and DeCoste, A modified finite Newton method for fast solution of large scale
   linear SVMs, JMLR 6:341-361, 2005.
"""

from __future__ import annotations

import numpy as np

from .blas import factorise, solve_factored, symmetric_times

MAX_STEPS = 100


def solve(gram: np.ndarray, y: np.ndarray, C: float, start: np.ndarray | None = None) -> np.ndarray:
    """Minimise P over beta.

    Parameters
    ----------
    gram : ndarray, float64 (n, n), Fortran order
        ``X X' + 1``; only the lower triangle is read.
    y : ndarray, float64 (n,)
        -1 or 1.
    C : float
        Weight of the loss.
    start : ndarray, float64 (n,), optional
        A guess, such as the solution for slightly different samples.

    Returns
    -------
    ndarray, float64 (n,)
        beta: ``w = X' beta``, ``b = beta.sum()``.
    """
    everyone = np.ones(len(y), dtype=bool)
    # The guess says who the support vectors are; its values are not used, since with other features
    # they are far from optimal while the set has hardly changed.
    support = everyone if start is None or not start.any() else start != 0
    beta, f, objective = np.zeros(len(y)), np.zeros(len(y)), C * len(y)
    system = _System(gram, y, C)
    for _ in range(MAX_STEPS):
        target = system.stationary(support)
        f_target = symmetric_times(gram, target)
        now = y * f_target < 1
        if np.array_equal(now, support):
            return target
        reached = _objective(target, f_target, y, C)
        if reached <= objective:
            beta, f, objective = target, f_target, reached
        else:
            t = _line_search(beta, f, target - beta, f_target - f, y, C)
            beta, f = beta + t * (target - beta), f + t * (f_target - f)
            objective, now = _objective(beta, f, y, C), y * f < 1
        support = now if now.any() else everyone
    return beta


class _System:
    """The equations ``(K_SS + I / 2C) beta_S = y_S`` for one support set after the other.

    The first set is factorised. A later one mostly differs in a few samples: those that left are
    held at 0 by multipliers, those that came border the first system, and the factor serves again.
    """

    def __init__(self, gram: np.ndarray, y: np.ndarray, C: float) -> None:
        self.gram, self.y, self.ridge = gram, y, 0.5 / C
        self.base: np.ndarray | None = None

    def stationary(self, support: np.ndarray) -> np.ndarray:
        """The minimum of P if ``support`` were the support vectors, (n,)."""
        if self.base is not None and 8 * np.count_nonzero(support != self.base) <= np.count_nonzero(self.base):
            return self._updated(support)
        self.base, self.at = support, np.flatnonzero(support)
        # The transpose is a view in C order: taking its rows, then its columns, keeps LAPACK's order.
        whole = self.at.size == self.y.size
        system = self.gram.copy(order="F") if whole else self.gram.T[self.at].take(self.at, axis=1).T
        system[np.diag_indices_from(system)] += self.ridge
        self.factor = factorise(system)
        beta = np.zeros(self.y.size)
        beta[self.at] = solve_factored(self.factor, self.y[self.at])
        return beta

    def _updated(self, support: np.ndarray) -> np.ndarray:
        came, left = np.flatnonzero(support & ~self.base), np.flatnonzero(self.base & ~support)  # type: ignore[operator]
        gram = self.gram
        border = np.zeros((self.at.size, came.size + left.size), order="F")
        border[:, : came.size] = gram[np.maximum.outer(self.at, came), np.minimum.outer(self.at, came)]
        border[np.searchsorted(self.at, left), came.size + np.arange(left.size)] = 1.0
        corner = np.zeros((border.shape[1],) * 2)
        corner[: came.size, : came.size] = gram[np.maximum.outer(came, came), np.minimum.outer(came, came)]
        corner[np.arange(came.size), np.arange(came.size)] += self.ridge
        solved = solve_factored(self.factor, np.column_stack([self.y[self.at], border]))
        right = np.concatenate([self.y[came], np.zeros(left.size)]) - border.T @ solved[:, 0]
        extra = np.linalg.solve(corner - border.T @ solved[:, 1:], right)
        beta = np.zeros(self.y.size)
        beta[self.at] = solved[:, 0] - solved[:, 1:] @ extra
        beta[came], beta[left] = extra[: came.size], 0.0
        return beta


def _objective(beta: np.ndarray, f: np.ndarray, y: np.ndarray, C: float) -> float:
    return 0.5 * float(beta @ f) + C * float((np.maximum(0.0, 1 - y * f) ** 2).sum())


def _line_search(
    beta: np.ndarray, f: np.ndarray, step: np.ndarray, f_step: np.ndarray, y: np.ndarray, C: float
) -> float:
    """Minimum of the convex, piecewise quadratic P along a step, by bisection of its slope."""
    low, high = 0.0, 1.0
    for _ in range(50):
        t = 0.5 * (low + high)
        at = f + t * f_step
        slope = float(step @ at) - 2 * C * float((np.maximum(0.0, 1 - y * at) * y) @ f_step)
        low, high = (t, high) if slope < 0 else (low, t)
    return 0.5 * (low + high)


def primal_and_gap(x: np.ndarray, y: np.ndarray, w: np.ndarray, b: float, C: float) -> tuple[float, float]:
    """The objective at any weights and how far above the minimum it can be.

    The dual value of ``alpha_i = 2 C max(0, 1 - y_i f_i)`` bounds the minimum from below, so the
    gap is a certificate that needs no reference solution.

    Parameters
    ----------
    x : ndarray (n, p)
    y : ndarray (n,)
        -1 or 1.
    w, b, C : ndarray (p,), float, float

    Returns
    -------
    primal, gap : float
        ``gap >= primal - minimum >= 0``, in the precision of the arguments.
    """
    loss = np.maximum(0.0, 1 - y * (x @ w + b))
    primal = 0.5 * (w @ w + b * b) + C * (loss**2).sum()
    alpha = 2 * C * loss
    v = x.T @ (alpha * y)
    dual = alpha.sum() - 0.5 * (v @ v + (alpha @ y) ** 2) - (alpha**2).sum() / (4 * C)
    return primal, primal - dual
