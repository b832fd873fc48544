"""The GDC portal's ``clinical.tsv``: ``'--`` for missing, one row a diagnosis and treatment (two a case, or more)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...config.sources import ClinicalSource
from ...core.barcodes import parse as parse_barcode
from ...core.errors import InputError
from ..tables import missing_column
from .base import Parsed, blank, to_number

_ENTITIES = {"cases", "demographic", "diagnoses", "project", "treatments", "follow_ups"}


def parse(table: pd.DataFrame, source: ClinicalSource) -> Parsed:
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
    if source.endpoint != "OS":
        raise InputError(
            f"endpoint {source.endpoint} is not in a GDC clinical.tsv",
            file=file,
            remedy="use OS here, or the TCGA-CDR table for DSS, PFI and DFI",
        )
    table = table.rename(columns=_short_names(table.columns))
    if "days_to_last_follow_up" not in table:
        table = table.rename(columns={"days_to_last_followup": "days_to_last_follow_up"})  # the legacy archive's name
    patient = _patient_column(table, file)
    for column in ("vital_status", "days_to_death", "days_to_last_follow_up"):
        if column not in table.columns:
            raise missing_column(column, table.columns, file)
    label = source.label.split(".")[-1] if source.label else "primary_diagnosis"
    if source.label and label not in table.columns:
        raise missing_column(source.label, table.columns, file, "clinical.label")
    if "diagnosis_is_primary_disease" in table.columns:  # a case's other diagnoses must not name its label
        primary = blank(table["diagnosis_is_primary_disease"]).astype("string").str.lower() == "true"
        table = table.loc[(~primary.fillna(False)).sort_values(kind="stable").index]
    ids = table[patient].astype(str)
    vital = blank(table["vital_status"]).astype("string").str.lower()
    vital = vital.mask(vital.isin({"unspecified"}))
    frame = pd.DataFrame({"patient_id": ids, "label": table[label] if label in table.columns else np.nan})
    # "Not Reported" is missing; the latest date over a case's rows is its follow-up.
    death = to_number(table["days_to_death"], "days_to_death", file).groupby(ids).transform("max")
    seen = to_number(table["days_to_last_follow_up"], "days_to_last_follow_up", file).groupby(ids).transform("max")
    dead = (vital == "dead").fillna(False).groupby(ids).transform("max")
    known = vital.notna().groupby(ids).transform("max")
    frame["event"] = np.where(known, dead.astype(float), np.nan)
    frame["time"] = np.where(dead.astype(bool), death, seen)
    columns = {"patient_id": patient, "label": label, "time": "days_to_death / days_to_last_follow_up",
               "event": "vital_status"}  # fmt: skip
    if "age_at_index" in table:
        frame["age"], columns["age"] = blank(table["age_at_index"]), "age_at_index"
    elif "age_at_diagnosis" in table:
        frame["age"] = to_number(table["age_at_diagnosis"], "age_at_diagnosis", file) / 365.25
        columns["age"] = "age_at_diagnosis (days)"
    for role, names in {
        "sex": ("gender", "sex_at_birth", "sex"),
        "stage": ("ajcc_pathologic_stage", "tumor_stage", "ajcc_clinical_stage", "figo_stage"),
    }.items():
        for name in names:
            if name in table:
                text = blank(table[name])
                frame[role] = text if role not in frame else frame[role].where(frame[role].notna(), text)
                columns.setdefault(role, name)
    facts = {
        "columns": columns,
        "time_unit": "days",
        "endpoint": "OS",
        "dead_without_date": int((dead.astype(bool) & death.isna()).groupby(ids).max().sum()),
    }
    return Parsed(frame.apply(lambda column: column.groupby(ids).transform("first")), 1.0, "event", facts)


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


def _patient_column(table: pd.DataFrame, file: str) -> str:
    """The case's submitter id; in old downloads ``case_submitter_id`` is empty and ``submitter_id`` is it."""
    names = [name for name in ("case_submitter_id", "submitter_id", "bcr_patient_barcode") if name in table.columns]
    filled = [name for name in names if blank(table[name]).notna().all()]
    for name in filled:
        if all(parse_barcode(str(value)) for value in table[name].head(20)):
            return name
    if filled:
        return filled[0]
    raise missing_column("case_submitter_id", table.columns, file)
