"""Clinical covariates as numbers: what is known of patients without slide or RNA."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .fold_data import Unusable

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


def is_the_same(covariate: pd.Series, outcome: pd.Series) -> bool:
    """Whether a covariate is the outcome under another name: each value of one goes with one value of the other.

    Only patients who have both count, ten at least; a covariate with about as many texts as patients says nothing.
    """
    both = covariate.notna() & outcome.notna()
    a, b = covariate[both].astype(str), outcome[both].astype(str)
    if len(a) < 10 or a.nunique() != b.nunique() or a.nunique() < 2:
        return False
    if pd.api.types.is_numeric_dtype(covariate) and pd.api.types.is_numeric_dtype(outcome):
        return bool(covariate[both].astype(float).corr(outcome[both].astype(float), method="spearman") > 0.9999)
    return len(pd.concat([a, b], axis=1).drop_duplicates()) == a.nunique() and a.nunique() < 0.9 * len(a)


class Covariates:
    """Numbers from clinical covariates; medians and categories are those of the training patients.

    Numeric columns are taken as they are, stage as its number, others one-hot. Missing numbers become the
    training median, with an indicator column where a tenth or more are missing. A column that is known for fewer
    than half of the training patients, is the same for all, or has about as many texts as patients is left out.

    Attributes
    ----------
    columns_ : dict
        By column: ``{"median": float, "indicator": bool}`` or ``{"values": list of str}``.
    left_out_ : list of str
        Columns that are the outcome itself.
    """

    def __init__(self) -> None:
        self.columns_: dict[str, dict[str, Any]] = {}
        self.left_out_: list[str] = []

    def fit(self, table: pd.DataFrame, allowed: Sequence[str], outcome: pd.Series | None = None) -> Covariates:
        """Learn from training patients; only the columns ``allowed`` are looked at, in the table's order.

        A column that says the same as ``outcome`` (age where age is the target) is left out.
        """
        for name in (column for column in table if column in allowed):
            a = self._read(table, name)
            if outcome is not None and is_the_same(a, outcome):
                self.left_out_.append(name)
                continue
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
