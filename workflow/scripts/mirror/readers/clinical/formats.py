"""Which format a clinical table has: by its whole signature, and never against columns that are named."""

from __future__ import annotations

import re

import pandas as pd

from ...config.sources import ClinicalSource
from ...core.facts import Facts
from . import cbioportal, gdc, porpoise, table, tcga_cdr
from .base import blank
from .columns import find

READERS = {
    "table": table.parse,
    "tcga_cdr": tcga_cdr.parse,
    "cbioportal": cbioportal.parse,
    "gdc": gdc.parse,
    "porpoise": porpoise.parse,
}
PATIENT = {"tcga_cdr": tcga_cdr.PATIENT, "cbioportal": cbioportal.PATIENT, "gdc": gdc.PATIENT,
           "porpoise": porpoise.PATIENT}  # fmt: skip
"""Usual names of the patients' column by format; a plain table has its own list."""
_STATUS = re.compile(r"[01]\s*:.*|living|deceased|diseasefree|recurred.*|progress.*|censored", re.IGNORECASE)
_GDC_MARKS = {"project_id", "primary_diagnosis", "case_id", "days_to_birth", "demographic_id", "diagnosis_id"}


def detect_format(raw: pd.DataFrame, source: ClinicalSource, facts: Facts) -> str:
    """Recognise a clinical table by its whole signature; anything else is a plain ``table``.

    A format is more than one column: the event's column of cBioPortal without its months, or with plain 0 and 1, is
    a plain table. A table whose time or event the config names is a plain table too.

    Parameters
    ----------
    raw : DataFrame
        Every cell as text.
    source : ClinicalSource
        Its named columns.
    facts : Facts
        Takes the format and why.

    Returns
    -------
    str
    """
    if source.format != "auto":
        facts.note("format", source.format, "clinical.format")
        return source.format
    form, why = _detect(raw)
    named = [f"clinical.{role}" for role in ("time", "event") if getattr(source, role)]
    if named and form != "table":
        facts.note("format", "table", f"{' and '.join(named)} named; the columns otherwise look like {form}")
        return "table"
    facts.note("format", form, why)
    return form


def _detect(raw: pd.DataFrame) -> tuple[str, str]:
    names = {str(column).lower() for column in raw.columns}
    exact = set(map(str, raw.columns))
    bare = {name.rsplit(".", 1)[-1] for name in names}
    if {"OS", "OS.time"} <= exact and (
        ("bcr_patient_barcode" in names and {"type", "DSS", "PFI", "Redaction"} & exact)
        or ("_patient" in names and {"sample", "cancer type abbreviation", "dss", "pfi"} & names)
    ):
        return "tcga_cdr", "OS, OS.time, and the patients' column of the TCGA-CDR"
    if {"case_id", "slide_id", "survival_months", "censorship"} <= names or (
        {"case_id", "survival_months", "censorship", "oncotree_code", "is_female"} <= names
    ):
        return "porpoise", "case_id, slide_id, survival_months, censorship"
    prefixed = any(name.startswith(("cases.", "demographic.", "diagnoses.")) for name in names)
    if (
        {"vital_status", "days_to_death"} <= bare
        and ({"days_to_last_follow_up", "days_to_last_followup"} & bare or prefixed)
        and {"case_submitter_id", "submitter_id", "bcr_patient_barcode"} & bare
        and (prefixed or _GDC_MARKS & bare)
    ):
        return "gdc", "vital_status, days_to_death and a case's submitter_id"
    if find(raw.columns, cbioportal.PATIENT) is not None:
        for endpoint in cbioportal.ENDPOINT:
            status, months = cbioportal.pair_of(raw.columns, endpoint)
            if status and months:
                cells = blank(raw[status]).dropna().astype("string")
                if len(cells) and cells.str.fullmatch(_STATUS).mean() > 0.9:
                    return "cbioportal", f"{status} in words, {months}"
    return "table", "no other format's signature"
