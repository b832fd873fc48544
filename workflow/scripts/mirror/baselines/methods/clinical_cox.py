"""Cox regression on clinical covariates: what is known without slide or RNA."""

from __future__ import annotations

from typing import Any, Self

from ..covariates import Covariates
from ..fold_data import FoldData, Patients
from ..method import LinearMethod
from ..registry import baseline


@baseline(
    "clinical_cox",
    kinds=("survival",),
    modality="clinical",
    description="Cox regression on age, sex and stage, or the covariates that the configuration names",
    title="Clinical Cox",
    order=10,
)
class ClinicalCox(LinearMethod):
    """Ridge Cox, penalty chosen inside the training patients."""

    def __init__(self) -> None:
        super().__init__()
        self.covariates_ = Covariates()

    def features(self, patients: Patients):
        """Covariates as numbers."""
        return self.covariates_.transform(patients.table), patients.table

    def fit(self, fold: FoldData) -> ClinicalCox:
        """See `Method.fit`."""
        self.covariates_.fit(fold.train, fold.covariates)
        fold.notes.append(f"covariates: {', '.join(self.covariates_.columns_)}")
        x, table = self.features(fold.training)
        self._fit_head("cox", x, table, fold)
        return self

    def to_dict(self) -> dict[str, Any]:
        """See `Method.to_dict`."""
        return super().to_dict() | {"covariates": self.covariates_.columns_}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """See `Method.from_dict`."""
        method = super().from_dict(data)
        method.covariates_.columns_ = data["covariates"]
        return method
