"""Lists of genes that users bring: COSMIC's cancer gene census, a plain list, a GMT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData

SYMBOL_COLUMNS = ("symbol", "ensembl", "gene", "gene_symbol", "gene_name")


def match_genes(adata: AnnData, names: Sequence[str]) -> np.ndarray:
    """Columns that a list's names point to.

    A name is looked up among the identifiers, then among the columns of ``var`` that hold
    symbols or Ensembl identifiers (without versions). One name may point to several columns
    (the transcripts of a gene); all of them count.

    Returns
    -------
    ndarray, bool (genes,)
    """
    wanted = set(names) | {_unversioned(name) for name in names}
    found = adata.var_names.isin(wanted) | adata.var_names.map(_unversioned).isin(wanted)
    for column in SYMBOL_COLUMNS:
        if column in adata.var:
            found = found | adata.var[column].astype("string").fillna("").map(_unversioned).isin(wanted).to_numpy()
    return np.asarray(found, dtype=bool)


def _unversioned(name: str) -> str:
    """``ENSG00000141510.18`` -> ``ENSG00000141510``; any other name as it is (``HLA-A``, ``AC004.1``)."""
    return name.split(".", 1)[0] if name.startswith("ENS") else name
