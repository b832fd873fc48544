"""Cox regression on age, sex and stage: what the clinic knows without slide or RNA."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from ..fold_data import FoldData, Unusable
from ..registry import baseline

ROMAN = {"I": 1, "II": 2, "III": 3, "IV": 4}
MIN_KNOWN = 0.5
"""A covariate known for fewer of the training patients is left out."""
NOT_COVARIATES = {
    *("patient_id", "label", "time_days", "event", "site", "n_slides", "has_rna", "has_wsi", "sample_id"),
    *("cohort", "slide_id"),
}


def stage_number(text: object) -> float:
    """``Stage IIIA`` -> 3, ``2`` -> 2; NaN where no stage is named."""
    words = str(text).strip().upper().removeprefix("STAGE").strip()
    match = re.match(r"(IV|III|II|I|[0-4])(?![A-Z]*[V-Z])", words)
    if not match:
        return np.nan
    return float(ROMAN.get(match[1], match[1]))


def covariates(train: pd.DataFrame, test: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Numbers from age, sex, stage and any further covariate columns.

    Numeric columns are taken as they are, stage as its number, others one-hot by the training
    patients' values. Missing numbers become the training median, with an indicator column where
    a tenth or more are missing.

    Returns
    -------
    x, x_test : ndarray of float64
    used : list of str
        Columns that were used.
    """
    parts, parts_test, used = [], [], []
    for name in (column for column in train if column not in NOT_COVARIATES):
        a, b = train[name], test[name]
        if name == "stage":
            a, b = a.map(stage_number), b.map(stage_number)
        number = pd.to_numeric(a, errors="coerce")
        if a.notna().mean() < MIN_KNOWN or a.nunique() < 2:
            continue
        if number.notna().sum() == a.notna().sum():
            number_test = pd.to_numeric(b, errors="coerce")
            middle = number.median()
            parts.append(number.fillna(middle).to_numpy(float))
            parts_test.append(number_test.fillna(middle).to_numpy(float))
            if number.isna().mean() >= 0.1:
                parts.append(number.isna().to_numpy(float))
                parts_test.append(number_test.isna().to_numpy(float))
        elif a.nunique() <= max(2, len(a) // 10):
            for value in sorted(a.dropna().unique())[1:]:
                parts.append((a == value).to_numpy(float))
                parts_test.append((b == value).to_numpy(float))
        else:
            continue  # as many values as patients: a name, not a covariate
        used.append(name)
    if not used:
        raise Unusable("no clinical covariates (age, sex, stage or named ones) are known")
    return np.column_stack(parts), np.column_stack(parts_test), used


@baseline("clinical_cox", tasks=("survival",), modality="clinical", description="Cox regression on age, sex, stage")
def fit(fold: FoldData):
    """Ridge Cox, penalty chosen inside the training patients."""
    x, x_test, used = covariates(fold.train, fold.test)
    fold.notes.append(f"covariates: {', '.join(used)}")
    return [fold.linear(x, fold.train, x_test, fold.test, "cox")]
