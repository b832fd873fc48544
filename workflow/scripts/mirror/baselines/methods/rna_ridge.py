"""Ridge regression on the fold's standardised genes."""

from __future__ import annotations

from ..fold_data import FoldData, Patients
from ..method import LinearMethod
from ..registry import baseline


@baseline(
    "rna_ridge",
    kinds=("number",),
    modality="rna",
    description="ridge regression on genes",
    title="RNA ridge regression",
    order=25,
)
class RnaRidge(LinearMethod):
    """Penalty chosen inside the training patients; z-scores clipped."""

    def features(self, patients: Patients):
        """Genes."""
        return patients.rna()

    def scaling(self, fold: FoldData):
        """Clipped."""
        return fold.clipped
