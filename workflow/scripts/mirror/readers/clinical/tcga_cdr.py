"""The TCGA Pan-Cancer Clinical Data Resource (Liu et al., Cell 2018): OS, DSS, PFI, DFI in days, 1 = it happened."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...config.sources import ClinicalSource
from ..tables import missing_column
from .base import Parsed, blank
from .table import demand


def parse(table: pd.DataFrame, source: ClinicalSource) -> Parsed:
    """Read one endpoint; the label is ``type`` (the TCGA project) unless the config names a column.

    UCSC Xena's copies (one row a sample, ``_PATIENT``, ``cancer type abbreviation``) are understood too.

    Raises
    ------
    InputError
        When the endpoint's columns or the stated label are missing.
    """
    file = str(source.path)
    patient = demand(table, source.patient, ("bcr_patient_barcode", "_PATIENT"), "patient", file)
    if patient is None:
        raise missing_column("bcr_patient_barcode", table.columns, file)
    for column in (source.endpoint, f"{source.endpoint}.time"):
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
        "time": f"{source.endpoint}.time",
        "event": source.endpoint,
        "age": "age_at_initial_pathologic_diagnosis",
        "sex": "gender",
        "vital": "vital_status",
    }
    columns = {role: column for role, column in columns.items() if column and column in table.columns}
    frame = pd.DataFrame({role: table[column] for role, column in columns.items()})
    if stage is not None:
        frame["stage"] = stage
    facts: dict[str, Any] = {"columns": columns, "time_unit": "days", "endpoint": source.endpoint}
    if "Redaction" in table:
        facts["redacted_patients"] = int(blank(table["Redaction"]).notna().sum())
    return Parsed(frame, 1.0, "event", facts, vital="vital" if "vital" in frame else None)
