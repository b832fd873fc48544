"""cBioPortal's ``data_clinical_patient.txt``: ``#`` lines, ``OS_STATUS`` (``1:DECEASED``), ``OS_MONTHS``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...config.sources import ClinicalSource
from ..tables import missing_column, read_table
from .base import DAYS_A_MONTH, Parsed
from .table import find

_ENDPOINT = {"OS": ("OS",), "DSS": ("DSS",), "PFI": ("PFS", "PFI"), "DFI": ("DFS", "DFI")}
_LABEL = ("ONCOTREE_CODE", "CANCER_TYPE_DETAILED", "SUBTYPE", "CANCER_TYPE_ACRONYM", "CANCER_TYPE",
          "Oncotree Code", "Cancer Type Detailed")  # fmt: skip
_DISPLAYED = {
    "OS": ("Overall Survival Status", "Overall Survival (Months)"),
    "DSS": ("Disease-specific Survival status", "Months of disease-specific survival"),
    "PFI": ("Progression Free Status", "Progress Free Survival (Months)"),
    "DFI": ("Disease Free Status", "Disease Free (Months)"),
}
"""Names under which the web site's download button writes the same columns."""


def parse(table: pd.DataFrame, source: ClinicalSource) -> Parsed:
    """Read one endpoint (PFI from PFS columns, DFI from DFS); times in months of 30.4375 days.

    Where the label is not in the patient file, the ``data_clinical_sample.txt`` beside it is asked, as labels
    such as ``ONCOTREE_CODE`` are kept there.

    Raises
    ------
    InputError
        When the endpoint's columns or the stated label are missing.
    """
    file = str(source.path)
    patient = find(table.columns, ("PATIENT_ID", "Patient ID"))
    if patient is None:
        raise missing_column("PATIENT_ID", table.columns, file)
    names = _ENDPOINT[source.endpoint]
    status = find(table.columns, (*(f"{name}_STATUS" for name in names), _DISPLAYED[source.endpoint][0]))
    months = find(table.columns, (*(f"{name}_MONTHS" for name in names), _DISPLAYED[source.endpoint][1]))
    if status is None or months is None:
        lack = f"{names[0]}_STATUS" if status is None else f"{names[0]}_MONTHS"
        raise missing_column(lack, table.columns, file, "clinical.endpoint")
    facts: dict[str, object] = {"time_unit": "months of 30.4375 days", "endpoint": source.endpoint}
    label = find(table.columns, (source.label,) if source.label else _LABEL)
    beside = Path(file).with_name(Path(file).name.replace("patient", "sample"))
    if label is None and beside != Path(file) and beside.exists():
        samples = read_table(beside)
        key = find(samples.columns, ("PATIENT_ID",))
        label = find(samples.columns, (source.label,) if source.label else _LABEL)
        if key and label:
            first = samples.drop_duplicates(key).set_index(key)[label]
            several = samples.groupby(key)[label].nunique()
            table = table.assign(**{label: table[patient].map(first)})
            facts |= {"label_from": beside.name, "patients_with_several_labels": int((several > 1).sum())}
    if source.label and label is None:
        raise missing_column(source.label, table.columns, file, "clinical.label")
    columns = {
        "patient_id": patient,
        "label": label,
        "time": months,
        "event": status,
        "age": find(table.columns, ("AGE", "AGE_AT_DIAGNOSIS", "DIAGNOSIS_AGE", "Diagnosis Age")),
        "sex": find(table.columns, ("SEX", "GENDER")),
        "stage": find(table.columns, ("AJCC_PATHOLOGIC_TUMOR_STAGE", "TUMOR_STAGE", "STAGE", "CLINICAL_STAGE")),
        "site": find(table.columns, ("CENTER", "TISSUE_SOURCE_SITE_CODE")),
    }
    columns = {role: column for role, column in columns.items() if column}
    frame = pd.DataFrame({role: table[column] for role, column in columns.items()})
    return Parsed(frame, DAYS_A_MONTH, "event", {"columns": columns, **facts})
