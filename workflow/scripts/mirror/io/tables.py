"""The workflow's own tables: patients and slides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..core.errors import InputError


def read_patients(path: str | Path) -> pd.DataFrame:
    """A cohort's patients, indexed by patient_id; label and stage stay text, empty cells are missing."""
    text = {name: str for name in ("patient_id", "label", "site", "stage", "sex")}
    # Identifiers and labels stay as they are written: a patient may be called NA or 007.
    table = pd.read_csv(path, sep="\t", dtype=text, keep_default_na=False, na_values=[""])
    if "patient_id" not in table:
        raise InputError("lacks the column patient_id", file=path, remedy="write it with the cohort step")
    if table["patient_id"].duplicated().any():
        twice = table.loc[table["patient_id"].duplicated(), "patient_id"].iloc[0]
        raise InputError("a patient has two rows", file=path, row=twice, remedy="keep one row per patient")
    return table.set_index("patient_id", drop=False).rename_axis(None)


def read_outcomes(path: str | Path) -> pd.DataFrame:
    """The outcomes of one target, indexed by patient_id; labels stay text, empty cells are missing."""
    text = {name: str for name in ("patient_id", "label")}
    table = pd.read_csv(path, sep="\t", dtype=text, keep_default_na=False, na_values=[""])
    if "patient_id" not in table:
        raise InputError("lacks the column patient_id", file=path, remedy="write it with the target's step")
    return table.set_index("patient_id")


def with_outcomes(patients: pd.DataFrame, *outcomes: pd.DataFrame) -> pd.DataFrame:
    """The patients' table with the columns of targets beside it; a patient without a row there has none."""
    out = patients.copy()
    for table in outcomes:
        for name in table:
            out[name] = table[name].reindex(out.index)
    return out


def read_table(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read one of the workflow's tables; identifiers stay text (a patient may be called NA or 007)."""
    if not Path(path).is_file():
        raise InputError("the file does not exist", file=path)
    ids = {name: str for name in ("patient_id", "slide_id", "sample_id", "label", "site", "cohort", "fingerprint")}
    table = pd.read_csv(path, sep="\t", dtype=ids, keep_default_na=False, na_values=[""])
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(f"no column {', '.join(missing)}", file=path)
    return table
