"""The GDC portal's ``clinical.tsv``: ``'--`` for missing, one row a diagnosis and treatment (two per case, or more)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...config.sources import ClinicalSource
from ...core.errors import InputError
from ...core.facts import Facts
from ..tables import missing_column
from .base import Parsed, blank, to_number
from .polarity import vital_by_dates

PATIENT = ("case_submitter_id", "cases.submitter_id", "submitter_id", "bcr_patient_barcode")
"""The case's submitter id; in old downloads ``case_submitter_id`` is empty and ``submitter_id`` is it."""
_SEEN = {"days_to_last_follow_up", "days_to_last_followup", "days_to_follow_up"}
_ENTITIES = {"cases", "demographic", "diagnoses", "project", "treatments", "follow_ups"}


def parse(table: pd.DataFrame, source: ClinicalSource, patient: str, facts: Facts, units: dict[str, str]) -> Parsed:
    """Read overall survival: days to death of the dead, days to the last follow-up of the living.

    Both the old layout (``submitter_id``, ``days_to_death``) and the new one (``cases.submitter_id``,
    ``demographic.days_to_death``) are understood. Rows of a case are joined: the latest follow-up counts, and
    of the other columns the first value that is not missing. The label is ``primary_diagnosis`` unless the
    config names a column (``project_id``, ``morphology`` ...).

    Raises
    ------
    InputError
        For another endpoint than OS, which this file does not hold, or missing columns.
    """
    file = str(source.path)
    if source.endpoint not in ("OS", "none"):
        raise InputError(
            f"endpoint {source.endpoint} is not in a GDC clinical.tsv",
            file=file,
            remedy="use OS here, or the TCGA-CDR table for DSS, PFI and DFI",
        )
    names = {patient: patient} | _short_names(table.columns)
    table = table.rename(columns={old: new for old, new in names.items() if old != patient})
    for column in ("vital_status", "days_to_death"):
        if column not in table.columns:
            raise missing_column(column, table.columns, file)
    label = source.label.split(".")[-1] if source.label else "primary_diagnosis"
    if source.label and source.label in table.columns:
        label = source.label
    if source.label and label not in table.columns:
        raise missing_column(source.label, table.columns, file, "clinical.label")
    if "diagnosis_is_primary_disease" in table.columns:  # a case's other diagnoses must not name its label
        primary = blank(table["diagnosis_is_primary_disease"]).astype("string").str.lower() == "true"
        table = table.loc[(~primary.fillna(False)).sort_values(kind="stable").index]
    ids = table[patient].astype(str)
    frame = pd.DataFrame({"patient_id": ids, "label": table[label] if label in table.columns else np.nan})
    seen_columns = [c for c in map(str, table.columns) if c.rsplit(".", 1)[-1] in _SEEN]
    if not seen_columns:
        facts.warn("last follow-up", "there is no column of the last follow-up: the living have no time",
                   "header", "give the portal's follow_up.tsv in `clinical.also`")  # fmt: skip
    seen_each = [to_number(table[c], c, file) for c in seen_columns]
    last = pd.concat(seen_each, axis=1).max(axis=1) if seen_each else pd.Series(np.nan, index=table.index)
    death = to_number(table["days_to_death"], "days_to_death", file)
    dead = vital_by_dates(table["vital_status"], death, "vital_status", facts)
    words = dead.map({1.0: "Dead", 0.0: "Alive"})
    frame["vital"], frame["death_days"], frame["last_days"] = words, death, last
    # "Not Reported" is missing; the latest date over a case's rows is its follow-up.
    is_one = (dead == 1).groupby(ids).transform("max").astype(bool)
    known = dead.notna().groupby(ids).transform("max").astype(bool)
    frame["event"] = np.where(known, is_one.astype(float), np.nan)
    frame["time"] = np.where(is_one, death.groupby(ids).transform("max"), last.groupby(ids).transform("max"))
    columns = {"patient_id": patient, "label": label,
               "time": f"days_to_death / {', '.join(seen_columns) or 'none'}", "event": "vital_status"}  # fmt: skip
    if "age_at_index" in table:
        frame["age"], columns["age"] = blank(table["age_at_index"]), "age_at_index"
    elif "age_at_diagnosis" in table:
        frame["age"] = to_number(table["age_at_diagnosis"], "age_at_diagnosis", file) / 365.25
        columns["age"] = "age_at_diagnosis (days)"
    for role, names_of in {
        "sex": ("gender", "sex_at_birth", "sex"),
        "stage": ("ajcc_pathologic_stage", "tumor_stage", "ajcc_clinical_stage", "figo_stage"),
    }.items():
        for name in names_of:
            if name in table:
                text = blank(table[name])
                frame[role] = text if role not in frame else frame[role].where(frame[role].notna(), text)
                columns.setdefault(role, name)
    said = {
        "columns": columns,
        "time_unit": "days",
        "endpoint": source.endpoint,
        "dead_without_date": int(ids[is_one & pd.isna(frame["time"])].nunique()),
    }
    return Parsed(frame, 1.0, "event", said)


def _short_names(columns: pd.Index) -> dict[str, str]:
    """New downloads prefix each column with its entity; the first of a name keeps the short one."""
    short: dict[str, str] = {}
    taken = {str(column) for column in columns}
    for column in map(str, columns):
        entity, dot, bare = column.partition(".")
        if dot and entity in _ENTITIES and bare not in taken:
            short[column] = bare
            taken.add(bare)
    return short
