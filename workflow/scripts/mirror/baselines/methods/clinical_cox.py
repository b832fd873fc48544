"""Cox regression on clinical covariates: what is known without slide or RNA."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from ..fold_data import FoldData, Patients, Unusable
from ..method import LinearMethod
from ..registry import baseline

ROMAN = {"I": 1, "II": 2, "III": 3, "IV": 4}
MIN_KNOWN = 0.5
"""A covariate known for fewer of the training patients is left out."""


def stage_number(text: object) -> float:
    """``Stage IIIA`` -> 3, ``2`` -> 2; NaN where no stage is named."""
    words = str(text).strip().upper().removeprefix("STAGE").strip()
    match = re.match(r"(IV|III|II|I|[0-4])(?![A-Z]*[V-Z])", words)
    if not match:
        return np.nan
    return float(ROMAN.get(match[1], match[1]))


class Covariates:
    """Numbers from clinical covariates; medians and categories are those of the training patients.

    Numeric columns are taken as they are, stage as its number, others one-hot. Missing numbers become the
    training median, with an indicator column where a tenth or more are missing. A column that is known for fewer
    than half of the training patients, is the same for all, or has about as many texts as patients is left out.

    Attributes
    ----------
    columns_ : dict
        By column: ``{"median": float, "indicator": bool}`` or ``{"values": list of str}``.
    """

    def __init__(self) -> None:
        self.columns_: dict[str, dict[str, Any]] = {}

    def fit(self, table: pd.DataFrame, allowed: Sequence[str]) -> Covariates:
        """Learn from training patients; only the columns ``allowed`` are looked at, in the table's order."""
        for name in (column for column in table if column in allowed):
            a = self._read(table, name)
            if a.notna().mean() < MIN_KNOWN or a.nunique() < 2:
                continue
            number = pd.to_numeric(a, errors="coerce")
            if number.notna().sum() == a.notna().sum():
                indicator = bool(number.isna().mean() >= 0.1)
                self.columns_[name] = {"median": float(number.median()), "indicator": indicator}
            elif a.nunique() <= max(2, len(a) // 10):
                self.columns_[name] = {"values": sorted(a.dropna().unique())[1:]}
        if not self.columns_:
            raise Unusable(f"none of the clinical covariates is known ({', '.join(allowed)})")
        return self

    def transform(self, table: pd.DataFrame) -> np.ndarray:
        """Covariates of patients, float64 (n, P)."""
        parts = []
        for name, how in self.columns_.items():
            a = self._read(table, name)
            if "values" in how:
                parts += [(a == value).to_numpy(float) for value in how["values"]]
                continue
            number = pd.to_numeric(a, errors="coerce")
            parts.append(number.fillna(how["median"]).to_numpy(float))
            if how["indicator"]:
                parts.append(number.isna().to_numpy(float))
        return np.column_stack(parts)

    @staticmethod
    def _read(table: pd.DataFrame, name: str) -> pd.Series:
        return table[name].map(stage_number) if name == "stage" else table[name]


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
