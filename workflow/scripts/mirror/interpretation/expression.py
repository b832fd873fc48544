"""Expression and gene sets for associations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from ..readers.gene_lists import read_gmt
from ..rna.gene_lists import match_genes


def read_associated(
    rna: Path, gene_sets: Path | None, patients: Iterable[str], min_set: int
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Expression of some patients, and which of its genes each gene set holds.

    Parameters
    ----------
    rna : Path
        Normalised expression.
    gene_sets : Path or None
        GMT.
    patients : iterable of str
        Those without expression are left out.
    min_set : int
        Sets with fewer measured genes are left out.

    Returns
    -------
    expression : DataFrame (patients, genes)
        Constant genes left out.
    masks : dict
        Set name to a bool mask (genes,).
    """
    adata = anndata.read_h5ad(rna)
    known = set(adata.obs_names)
    adata = adata[[p for p in patients if p in known]]
    dense = adata.X.toarray() if hasattr(adata.X, "toarray") else np.asarray(adata.X)
    varied = dense.std(0) > 0
    expression = pd.DataFrame(dense[:, varied], index=adata.obs_names, columns=adata.var_names[varied])
    if gene_sets is None:
        return expression, {}
    found = {name: match_genes(adata, members)[varied] for name, members in read_gmt(gene_sets).items()}
    return expression, {name: mask for name, mask in found.items() if mask.sum() >= min_set}
