"""Logistic regression on the fold's standardised genes."""

from __future__ import annotations

from ..fold_data import FoldData
from ..registry import baseline


@baseline("rna_logistic", tasks=("subtyping",), modality="rna", description="L2 logistic regression on genes")
def fit(fold: FoldData):
    """Penalty chosen inside the training patients; z-scores clipped."""
    return [fold.linear(*fold.rna(), "logistic", fold.clipped)]
