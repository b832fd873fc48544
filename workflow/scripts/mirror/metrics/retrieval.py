"""Cross-modal retrieval: ranks of the partner and recall."""

from __future__ import annotations

import logging

import numpy as np

from .classification import _ratio

log = logging.getLogger(__name__)


def retrieval_metrics(rank: np.ndarray, w: np.ndarray, at: tuple[int, ...] = (1, 5, 10)) -> dict[str, np.ndarray]:
    """recall_at_k and the median rank (1 is best).

    Parameters
    ----------
    rank : ndarray of float, shape (n,)
        Rank of the true partner of each query.
    w : ndarray of float, shape (R, n)
    """
    total = w.sum(axis=1)
    found = {f"recall_at_{k}": _ratio(w @ (rank <= k).astype(float), total) for k in at}
    order = np.argsort(rank, kind="stable")
    below = np.cumsum(w[:, order], axis=1)
    # Mean of the lower and the upper median, which is the usual median of whole counts.
    lower = (below < total[:, None] / 2 - 1e-9).sum(axis=1)
    upper = (below <= total[:, None] / 2 + 1e-9).sum(axis=1).clip(max=len(rank) - 1)
    found["median_rank"] = (rank[order][lower] + rank[order][upper]) / 2
    return found


DIRECTIONS = ("wsi_to_rna", "rna_to_wsi")


def partner_ranks(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Rank of each query's partner among the candidates, 1 is best.

    Parameters
    ----------
    queries, candidates : ndarray of float, shape (n, D)
        Row i of one belongs to row i of the other. Compared by inner product, which is what
        the alignment loss trains.

    Returns
    -------
    ndarray of float64, shape (n,)
        Ties share the mean of their ranks, so that a collapsed model ranks at chance.
    """
    similarity = queries @ candidates.T
    own = np.diag(similarity)[:, None]
    better = (similarity > own).sum(axis=1)
    tied = (similarity == own).sum(axis=1) - 1
    return 1.0 + better + tied / 2.0
