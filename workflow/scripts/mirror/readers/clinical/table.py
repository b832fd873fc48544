"""A plain clinical table; its columns are named in the config, or bear the canonical names."""

from __future__ import annotations

import re

import pandas as pd

from ...config.sources import ClinicalSource
from ...core.errors import InputError
from ..tables import missing_column
from .base import DAYS, Parsed, blank, unit_of_name

PATIENT = (
    "patient_id",
    "case_id",
    "patient",
    "case_submitter_id",
    "submitter_id",
    "bcr_patient_barcode",
    "_PATIENT",
    "sample",
)
_LABEL = ("label", "subtype", "oncotree_code", "cancer_type", "class", "diagnosis")
_TIME = ("time_days", "survival_days", "time_months", "survival_months", "os_days", "os_months", "time_years", "time",
         "os_time", "os.time")  # fmt: skip
_EVENT = ("event", "censorship", "censored", "vital_status", "status", "os_status", "os_event", "os")
_OTHERS = {
    "site": ("site", "center", "centre", "hospital", "institution"),
    "age": ("age", "age_at_diagnosis_years", "age_at_index", "age_years"),
    "sex": ("sex", "gender"),
    "stage": ("stage", "tumor_stage", "tumour_stage", "ajcc_pathologic_stage", "ajcc_stage"),
}
_CENSOR = re.compile(r"censor", re.IGNORECASE)
_HAPPENED = re.compile(r"event|status|dead|death|died|deceased|vital|^(os|dss|pfi|dfi|pfs|dfs|rfs)$", re.IGNORECASE)


def find(columns: pd.Index, names: tuple[str, ...]) -> str | None:
    """Return the first of ``names`` that a table has, whatever its case."""
    lower = {str(column).lower(): str(column) for column in columns}
    return next((lower[name.lower()] for name in names if name.lower() in lower), None)


def demand(table: pd.DataFrame, stated: str | None, names: tuple[str, ...], setting: str, file: str) -> str | None:
    """Return the stated column, which must exist, or else the first of the usual names, or None."""
    if stated is None:
        return find(table.columns, names)
    if stated not in table.columns:
        raise missing_column(stated, table.columns, file, f"clinical.{setting}")
    return stated


def parse(table: pd.DataFrame, source: ClinicalSource) -> Parsed:
    """Read a plain table.

    The unit is taken from the config, or from the time column's name (``..._days``, ``..._months``); the
    polarity from the config, or from the event column's name (``censor...``: 1 = censored) or its words.

    Raises
    ------
    InputError
        When the patient column, or a stated one, is missing, or unit or polarity cannot be told.
    """
    file = str(source.path)
    patient = demand(table, source.patient, PATIENT, "patient", file)
    if patient is None:
        raise missing_column("patient_id", table.columns, file, "clinical.patient")
    label = demand(table, source.label, _LABEL, "label", file)
    times, events = _TIME, _EVENT
    if source.endpoint != "OS":  # the usual names are those of overall survival, or say no endpoint at all
        name = source.endpoint
        times = tuple(f"{name}{end}" for end in ("_days", "_months", "_years", "_time", ".time"))
        events = (f"{name}_event", f"{name}_status", name)
        if find(table.columns, times) is None and source.time is None:
            raise InputError(
                f"has no column of times to {name} (such as {', '.join(times[:2])})",
                file=file,
                remedy="name it in `clinical.time`, and the event's in `clinical.event`",
            )
    time = demand(table, source.time, times, "time", file)
    event = demand(table, source.event, events, "event", file)
    if (time is None) != (event is None):
        have, lack = ("time", "event") if event is None else ("event", "time")
        raise (
            missing_column(lack, table.columns, file, f"clinical.{lack}")
            if getattr(source, have)
            else InputError(
                f"has a {have} column ({time or event}) but no {lack} column",
                file=file,
                remedy=f"name it in `clinical.{lack}`",
            )
        )
    columns = {"patient_id": patient, "label": label, "time": time, "event": event}
    for role, names in _OTHERS.items():
        columns[role] = demand(table, getattr(source, role, None), names, role, file)
    frame = pd.DataFrame({role: table[column] for role, column in columns.items() if column is not None})
    unit = _unit(time, source, file) if time else "days"
    return Parsed(
        frame,
        DAYS[unit],
        _polarity(event, table, source, file) if event else "event",
        {"columns": columns, "time_unit": unit},
    )


def _unit(column: str, source: ClinicalSource, file: str) -> str:
    if source.time_unit != "auto":
        return source.time_unit
    unit = unit_of_name(column)
    if unit is None:
        raise InputError(
            f"the unit of time column {column!r} is not known",
            file=file,
            remedy="set `clinical.time_unit` to days, months or years",
        )
    return unit


def _polarity(column: str, table: pd.DataFrame, source: ClinicalSource, file: str) -> str:
    if source.event_is != "auto":
        return "event" if source.event_is == "1_event" else "censored"
    if _CENSOR.search(column):
        return "censored"
    cells = blank(table[column]).dropna()
    if _HAPPENED.search(column) or pd.to_numeric(cells, errors="coerce").isna().all():
        return "event"
    raise InputError(
        f"what 1 means in column {column!r} is not known",
        file=file,
        remedy="set `clinical.event_is` to 1_event or 1_censored",
    )
