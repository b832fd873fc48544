"""Reading rows and columns of an AnnData as a plain array, and its provenance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData

CHUNK = 4096
"""Genes handled at once wherever a float64 copy of the whole matrix would cost memory."""


def provenance(adata: AnnData) -> dict[str, Any]:
    """The JSON object kept in ``uns["mirror"]``; empty when there is none."""
    text = adata.uns.get("mirror")
    return json.loads(str(text)) if text is not None else {}


def values_kind(adata: AnnData) -> str:
    """What the numbers were as read: counts, tpm, fpkm, log2, log1p or zscore; mixed for pooled cohorts.

    Raises
    ------
    InputError
        The provenance does not say.
    """
    note = provenance(adata)
    kind = note.get("values", "mixed" if "pooled" in note else None)
    if isinstance(kind, dict):  # the reader's report: the kind, and why
        kind = kind.get("kind")
    if not isinstance(kind, str):
        raise InputError('the expression does not say what its values are (uns["mirror"], key "values")')
    return kind


def row_numbers(adata: AnnData, patients: Sequence[str]) -> np.ndarray:
    """Row of each patient, int64 (n,).

    Raises
    ------
    InputError
        A patient has no expression.
    """
    rows = adata.obs_names.get_indexer(list(patients))
    if (rows < 0).any():
        missing = [p for p, row in zip(patients, rows, strict=True) if row < 0]
        raise InputError(f"{len(missing)} of {len(rows)} patients have no expression, the first is {missing[0]}")
    return rows.astype(np.int64)


def column_numbers(adata: AnnData, genes: Sequence[str]) -> np.ndarray:
    """Column of each gene, int64 (G,).

    Raises
    ------
    InputError
        A gene is not in the matrix.
    """
    columns = adata.var_names.get_indexer(list(genes))
    if (columns < 0).any():
        missing = [g for g, column in zip(genes, columns, strict=True) if column < 0]
        raise InputError(
            f"{len(missing)} of {len(columns)} genes are not in the expression, the first is {missing[0]}",
            remedy="use expression measured and named as in the cohort that the genes were chosen in",
        )
    return columns.astype(np.int64)


def dense(matrix: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A float32 copy (n, G) of some rows and columns of a dense or sparse matrix; safe to write into."""
    part = matrix[rows]
    if not np.array_equal(columns, np.arange(matrix.shape[1])):
        part = part[:, columns]
    if hasattr(part, "toarray"):
        part = part.toarray()
    return np.ascontiguousarray(part, dtype=np.float32)  # fancy indexing has copied already
