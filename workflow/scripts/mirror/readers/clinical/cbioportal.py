"""cBioPortal's ``data_clinical_patient.txt``: ``#`` lines, ``OS_STATUS`` (``1:DECEASED``), ``OS_MONTHS``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...config.sources import ClinicalSource
from ...core.facts import Facts
from ..tables import missing_column, read_table
from .base import DAYS_A_MONTH, Parsed
from .columns import find

PATIENT = ("PATIENT_ID", "Patient ID")

ENDPOINT = {"OS": ("OS",), "DSS": ("DSS",), "PFI": ("PFS", "PFI"), "DFI": ("DFS", "DFI")}
_LABEL = ("ONCOTREE_CODE", "CANCER_TYPE_DETAILED", "SUBTYPE", "CANCER_TYPE_ACRONYM", "CANCER_TYPE",
          "Oncotree Code", "Cancer Type Detailed")  # fmt: skip
_DISPLAYED = {
    "OS": ("Overall Survival Status", "Overall Survival (Months)"),
    "DSS": ("Disease-specific Survival status", "Months of disease-specific survival"),
    "PFI": ("Progression Free Status", "Progress Free Survival (Months)"),
    "DFI": ("Disease Free Status", "Disease Free (Months)"),
}
"""Names under which the web site's download button writes the same columns."""


def pair_of(columns: pd.Index, endpoint: str) -> tuple[str | None, str | None]:
    """The columns of status and months of an endpoint, under the file's names or the web site's."""
    names = ENDPOINT.get(endpoint, ("OS",))
    displayed = _DISPLAYED.get(endpoint, _DISPLAYED["OS"])
    status = find(columns, (*(f"{name}_STATUS" for name in names), displayed[0]))
    return status, find(columns, (*(f"{name}_MONTHS" for name in names), displayed[1]))


def parse(table: pd.DataFrame, source: ClinicalSource, patient: str, facts: Facts, units: dict[str, str]) -> Parsed:
    """Read one endpoint (PFI from PFS columns, DFI from DFS); times in months of 30.4375 days.

    Where the label is not in the patient file, the ``data_clinical_sample.txt`` beside it is asked, as labels
    such as ``ONCOTREE_CODE`` are kept there.

    Raises
    ------
    InputError
        When the endpoint's columns or the stated label are missing.
    """
    file = str(source.path)
    names = ENDPOINT.get(source.endpoint, ("OS",))
    status, months = pair_of(table.columns, source.endpoint)
    if source.endpoint != "none" and (status is None or months is None):
        lack = f"{names[0]}_STATUS" if status is None else f"{names[0]}_MONTHS"
        raise missing_column(lack, table.columns, file, "clinical.endpoint")
    said: dict[str, object] = {"time_unit": "months of 30.4375 days", "endpoint": source.endpoint}
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
            said |= {"label_from": beside.name, "patients_with_several_labels": int((several > 1).sum())}
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
        "site": find(table.columns, ("CENTER", "TISSUE_SOURCE_SITE_CODE", "TISSUE_SOURCE_SITE")),
        "vital": find(table.columns, ("VITAL_STATUS",)),
    }
    columns = {role: column for role, column in columns.items() if column}
    if "time" not in columns or "event" not in columns:
        columns.pop("time", None), columns.pop("event", None)
    frame = pd.DataFrame({role: table[column] for role, column in columns.items()})
    return Parsed(frame, DAYS_A_MONTH, "event", {"columns": columns, **said})
