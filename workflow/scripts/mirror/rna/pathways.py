"""Pathway scores: the mean z-score of a gene set's members, one number per patient and set."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from ..readers.gene_lists import read_gmt
from .gene_lists import match_genes

if TYPE_CHECKING:
    from anndata import AnnData

log = logging.getLogger("mirror")

PREFIX = "pathway:"
MIN_MEMBERS = 5
"""Fewer measured members say too little about a pathway."""


@dataclass(frozen=True)
class Membership:
    """Which measured genes belong to which set.

    Attributes
    ----------
    names : tuple of str
        ``pathway:NAME``.
    starts : ndarray, int64 (sets + 1,)
        Set ``k`` has the members ``columns[starts[k]:starts[k + 1]]``.
    columns : ndarray, int64
        Positions among the genes the membership was made for.
    """

    names: tuple[str, ...]
    starts: np.ndarray
    columns: np.ndarray

    def scores(self, z: np.ndarray) -> np.ndarray:
        """Mean of the members' z-scores, float64 (n, sets), from ``z`` (n, G)."""
        weights = np.repeat(1.0 / np.diff(self.starts), np.diff(self.starts))
        table = csr_array((weights, self.columns, self.starts), shape=(len(self.names), z.shape[1]))
        return (table @ z.T.astype(np.float64)).T


def find_members(adata: AnnData, gmt: str, allowed: np.ndarray) -> tuple[list[str], list[np.ndarray]]:
    """Sets with enough measured members.

    Parameters
    ----------
    adata : AnnData
        Expression.
    gmt : str
        GMT file.
    allowed : ndarray, bool (genes,)
        Genes that may count (measured in the training patients, not constant there).

    Returns
    -------
    names : list of str
    columns : list of ndarray, int64
        Columns of ``adata``, ascending.
    """
    names, columns, small = [], [], 0
    for name, members in read_gmt(gmt).items():
        found = np.flatnonzero(match_genes(adata, members) & allowed)
        if found.size < MIN_MEMBERS:
            small += 1
            continue
        names.append(PREFIX + name)
        columns.append(found)
    log.info("Pathways: %d scored, %d left out with fewer than %d measured members", len(names), small, MIN_MEMBERS)
    return names, columns
