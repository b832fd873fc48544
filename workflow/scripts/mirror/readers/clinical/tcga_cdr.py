"""The TCGA Pan-Cancer Clinical Data Resource (Liu et al., Cell 2018): OS, DSS, PFI, DFI in days, 1 = it happened."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...config.sources import ClinicalSource
from ...core.facts import Facts
from ..tables import missing_column
from .base import Parsed, blank
from .columns import demand

PATIENT = ("bcr_patient_barcode", "_PATIENT")


def parse(table: pd.DataFrame, source: ClinicalSource, patient: str, facts: Facts, units: dict[str, str]) -> Parsed:
    """Read one endpoint; the label is ``type`` (the TCGA project) unless the config names a column.

    UCSC Xena's copies (one row per sample, ``_PATIENT``, ``cancer type abbreviation``) are understood too.

    Raises
    ------
    InputError
        When the endpoint's columns or the stated label are missing.
    """
    file = str(source.path)
    endpoint = "OS" if source.endpoint == "none" else source.endpoint
    for column in (endpoint, f"{endpoint}.time"):
        if column not in table.columns:
            raise missing_column(column, table.columns, file, "clinical.endpoint")
    label = demand(table, source.label, ("type", "cancer type abbreviation"), "label", file)
    stage = blank(table["ajcc_pathologic_tumor_stage"]) if "ajcc_pathologic_tumor_stage" in table else None
    if "clinical_stage" in table:
        clinical = blank(table["clinical_stage"])
        stage = clinical if stage is None else stage.where(stage.notna(), clinical)
    columns = {
        "patient_id": patient,
        "label": label,
        "time": f"{endpoint}.time",
        "event": endpoint,
        "age": "age_at_initial_pathologic_diagnosis",
        "sex": "gender",
        "vital": "vital_status",
    }
    columns = {role: column for role, column in columns.items() if column and column in table.columns}
    frame = pd.DataFrame({role: table[column] for role, column in columns.items()})
    if stage is not None:
        frame["stage"] = stage
    said: dict[str, Any] = {"columns": columns, "time_unit": "days", "endpoint": source.endpoint}
    if "Redaction" in table:
        said["redacted_patients"] = int(blank(table["Redaction"]).notna().sum())
    for role, column in (("death_days", "death_days_to"), ("last_days", "last_contact_days_to")):
        if column in table:
            number = pd.to_numeric(blank(table[column]), errors="coerce").astype(float)
            frame[role] = number
    return Parsed(frame, 1.0, "event", said)
