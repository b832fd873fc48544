"""Elastic-net Cox regression on the fold's standardised genes."""

from __future__ import annotations

from ._data import FoldData
from ._elastic_cox import fit_elastic_cox
from ._registry import baseline


@baseline("rna_cox", tasks=("survival",), modality="rna", description="elastic-net Cox regression on genes")
def fit(fold: FoldData):
    """Coordinate descent (scikit-survival's Coxnet); penalty chosen inside the training patients."""
    x, train, x_test, test = fold.rna()
    found = fit_elastic_cox(x, *fold.outcome(train), x_test, fold.settings, fold.seed)
    return [("coxnet", fold.risk_rows(test, found.risk, found.threshold, found.times, found.survival))]
