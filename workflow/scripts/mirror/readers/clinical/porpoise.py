"""PORPOISE and SurvPath metadata: one row per slide, ``censorship`` 1 = censored, months.

The two divide days differently: against the TCGA-CDR a PORPOISE month is 30.44 days (mean over 918 BRCA patients
30.4399) and a SurvPath month exactly 30.
"""

from __future__ import annotations

import pandas as pd

from ...config.sources import ClinicalSource
from ...core.errors import InputError
from ...core.facts import Facts
from ..tables import missing_column
from .base import Parsed, blank
from .columns import demand

PATIENT = ("case_id",)
PORPOISE_MONTH = 30.44
SURVPATH_MONTH = 30.0
_SUFFIX = {"OS": "", "none": "", "DSS": "_dss", "PFI": "_pfi"}


def parse(table: pd.DataFrame, source: ClinicalSource, patient: str, facts: Facts, units: dict[str, str]) -> Parsed:
    """Read one endpoint (PORPOISE has OS only, SurvPath OS, DSS and PFI); the label is ``oncotree_code``.

    Raises
    ------
    InputError
        When the endpoint is not in the file or a column is missing.
    """
    file = str(source.path)
    if source.endpoint not in _SUFFIX:
        raise InputError(f"endpoint {source.endpoint} is not in this format", file=file, remedy="use OS, DSS or PFI")
    suffix = _SUFFIX[source.endpoint]
    time, event = f"survival_months{suffix}", f"censorship{suffix}"
    for column in (time, event):
        if column not in table.columns:
            raise missing_column(column, table.columns, file, "clinical.endpoint" if suffix else None)
    survpath = "survival_months_dss" in table.columns
    columns = {
        "patient_id": patient,
        "label": demand(table, source.label, ("oncotree_code",), "label", file),
        "time": time,
        "event": event,
        "site": "site",
        "age": "age",
    }
    columns = {role: column for role, column in columns.items() if column in table.columns}
    frame = pd.DataFrame({role: table[column] for role, column in columns.items()})
    if "is_female" in table:
        female = pd.to_numeric(blank(table["is_female"]), errors="coerce")
        frame["sex"] = female.map({1.0: "female", 0.0: "male"})
        columns["sex"] = "is_female"
    month = SURVPATH_MONTH if survpath else PORPOISE_MONTH
    said = {
        "columns": columns,
        "time_unit": f"months of {month:g} days",
        "endpoint": source.endpoint,
        "flavour": "SurvPath" if survpath else "PORPOISE",
    }
    return Parsed(frame, month, "censored", said)
