"""From a clinical table as read to the outcomes of one target, for the patients of a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..core.errors import InputError
from ..core.facts import Facts

OUTCOME_COLUMNS = ("label", "time_days", "event")
"""Columns of a clinical table as read that no patients' table has."""
ABOUT = ("label", "time", "event", "endpoint", "follow-up", "1 in the event column", "vital", "patients with")
"""Beginnings of the subjects of facts that are about outcomes."""


def split_facts(facts: Facts, outcome: bool) -> Facts:
    """The facts about outcomes, or those about everything else."""
    return Facts(facts.about, [fact for fact in facts if fact.subject.startswith(ABOUT) == outcome])


def raw_outcome(table: pd.DataFrame, kind: str, column: str | None, file: str) -> pd.DataFrame:
    """The columns of a target, by its kind's names.

    Parameters
    ----------
    table : DataFrame
        As from `mirror.readers.clinical.read.read_clinical`.
    kind : str
    column : str or None
        Column of a number.
    file : str
        For the error.

    Raises
    ------
    InputError
        A number's column holds text.
    """
    if kind == "survival":
        return table[["patient_id", "time_days", "event"]]
    if kind != "number":
        return table[["patient_id", "label"]]
    value = table[column]
    number = pd.to_numeric(value, errors="coerce")
    bad = value.notna() & number.isna()
    if bad.any():
        raise InputError(
            f"column {column!r}: {value[bad].iloc[0]!r} is not a number",
            file=file,
            row=str(table.loc[bad, "patient_id"].iloc[0]),
            remedy="correct it, or give the target another kind",
        )
    return pd.DataFrame({"patient_id": table["patient_id"], "value": number.astype(float)})


def for_patients(outcomes: pd.DataFrame, patients: Sequence[str]) -> pd.DataFrame:
    """One row per patient of the cohort, in its order; missing where nothing is known."""
    found = outcomes.drop_duplicates("patient_id").set_index("patient_id")
    return found.reindex(list(patients)).rename_axis("patient_id").reset_index()


def flow_rows(rows: Sequence[Mapping[str, Any]], target: str) -> pd.DataFrame:
    """Rows of the cohort flow that name their target."""
    columns = ["step", "unit", "kept", "dropped", "reason"]
    return pd.DataFrame([{**row, "step": f"{target}: {row['step']}"} for row in rows], columns=columns)
