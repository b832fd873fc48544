"""Logistic regression on the fold's standardised genes."""

from __future__ import annotations

from ..fold_data import FoldData, Patients
from ..method import LinearMethod
from ..registry import baseline


@baseline(
    "rna_logistic",
    kinds=("class", "ordinal"),
    modality="rna",
    description="L2 logistic regression on genes",
    title="RNA logistic regression",
    order=20,
)
class RnaLogistic(LinearMethod):
    """Penalty chosen inside the training patients; z-scores clipped."""

    def features(self, patients: Patients):
        """Genes."""
        return patients.rna()

    def scaling(self, fold: FoldData):
        """Clipped."""
        return fold.clipped
