"""Clinical covariates for every kind of target: what is known without slide or RNA."""

from __future__ import annotations

from typing import Any, Self

import pandas as pd

from ...targets.fit import heads_of
from ..covariates import Covariates
from ..fold_data import FoldData, Patients
from ..method import LinearMethod
from ..registry import baseline


@baseline(
    "clinical",
    kinds=("class", "ordinal", "survival", "number"),
    modality="clinical",
    description="linear model of age, sex and stage, or the covariates that the configuration names",
    title="Clinical",
    order=5,
)
class Clinical(LinearMethod):
    """The linear heads of the target on covariates; missing values imputed on the training patients.

    A covariate that is the target itself is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.covariates_ = Covariates()

    def features(self, patients: Patients):
        """Covariates as numbers."""
        return self.covariates_.transform(patients.table), patients.table

    def fit(self, fold: FoldData) -> Clinical:
        """See `Method.fit`."""
        self.covariates_.fit(fold.train, fold.covariates, outcome_column(fold))
        fold.notes.append(f"covariates: {', '.join(self.covariates_.columns_)}")
        if self.covariates_.left_out_:
            fold.notes.append(f"left out, as they are the target itself: {', '.join(self.covariates_.left_out_)}")
        x, table = self.features(fold.training)
        name = "cox" if fold.target.kind == "survival" else heads_of(fold.target, fold.settings)[0]
        self._fit_head(name, x, table, fold)
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


def outcome_column(fold: FoldData) -> pd.Series | None:
    """The outcome that a covariate may repeat; none for survival."""
    columns = list(fold.target.rules.outcome)
    return fold.train[columns[0]] if len(columns) == 1 else None
