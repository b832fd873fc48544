"""Which column is what: usual names, endpoints that names state, and the patients' column by its content."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ...core.barcodes import parse as parse_barcode
from ...core.errors import InputError
from ...core.facts import Facts
from ...core.patient_keys import patient_key
from ..tables import missing_column
from .base import blank, looks_like_event

PATIENT: tuple[str, ...] = (
    "patient_id",
    "case_id",
    "patient",
    "case_submitter_id",
    "cases.submitter_id",
    "submitter_id",
    "bcr_patient_barcode",
    "_PATIENT",
    "patientid",
    "patient id",
    "patient_barcode",
    "sample",
    "sample_id",
    "patienten-id", "patienten_id", "patientenid", "patientennummer", "pat_id", "pat-id", "id_patient", "id patient",
    "paciente", "id_paciente", "paziente", "id_paziente",
)  # fmt: skip
LABEL: tuple[str, ...] = ("label", "subtype", "oncotree_code", "cancer_type", "class", "diagnosis")
TIME: tuple[str, ...] = (
    "time_days", "survival_days", "time_months", "survival_months", "os_days", "os_months", "time_years",
    "time", "os_time", "os.time", "_OS", "_TIME_TO_EVENT", "overall_survival_days", "overall_survival_months",
    "overall_survival", "overall survival (months)", "overall survival (days)", "os_years", "survival_time",
    "survival_years", "follow_up_days", "followup_days", "follow_up_months", "followup_months",
    "follow_up_time", "followup_time", "time_to_event", "futime",
)  # fmt: skip
EVENT: tuple[str, ...] = (
    "event", "censorship", "censored", "os_status", "os_event", "os", "_OS_IND", "_EVENT",
    "overall_survival_event", "overall_survival_status", "overall survival status", "deceased", "dead", "death",
    "died", "death_event", "survival_status", "survival_event", "status", "fustat", "vital_status",
)  # fmt: skip
OTHERS = {
    "site": ("site", "center", "centre", "hospital", "institution", "tissue_source_site", "tissue_source_site_code",
             "cases.tissue_source_site.code", "tss", "clinic", "institution_name", "center_name", "site_id",
             "hospital_id", "submitting_center", "submitting_site", "klinik", "zentrum", "centro", "hôpital"),
    "age": ("age", "age_at_diagnosis_years", "age_at_index", "age_years", "age_at_diagnosis", "diagnosis age",
            "age_at_initial_pathologic_diagnosis"),
    "sex": ("sex", "gender", "sex_at_birth"),
    "stage": ("stage", "tumor_stage", "tumour_stage", "ajcc_pathologic_stage", "ajcc_stage",
              "ajcc_pathologic_tumor_stage", "pathologic_stage"),
    "vital": ("vital_status", "vitalstatus", "vital status", "demographic.vital_status"),
}  # fmt: skip
DEATH = ("days_to_death", "death_days_to", "demographic.days_to_death")
LAST = ("days_to_last_follow_up", "days_to_last_followup", "days_to_follow_up", "last_contact_days_to",
        "diagnoses.days_to_last_follow_up", "follow_ups.days_to_follow_up")  # fmt: skip

_SUFFIX = re.compile(r"^(?P<base>.+?)[-_.](?P<number>\d{1,2})$")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_ENDPOINTS = (
    ("DSS", r"dss|disease.?specific"),
    ("PFI", r"pf[is]|progress"),
    ("DFI", r"d[f]?fi|dfs|rfs|disease.?free|relapse|recurren"),
    ("OS", r"os|overall"),
)
_TIME_LIKE = re.compile(
    r"^(days|months|years|t)$|[uü](e)?berleben|beobachtung|nachsorge|survie|suivi|supervivencia|seguimiento|"
    r"sopravvivenza|overleving|surviv|follow.?up|last.?(contact|seen|visit)|lived|time|days?.to.(death|last)|"
    r"(^|[^a-z])(os|dss|pf[is]|df[is]|rfs|months?|futime)([^a-z]|$)",
    re.IGNORECASE,
)
_EVENT_LIKE = re.compile(r"verstorben|gestorben|vitalstatus|[uü](e)?berleben|d[eé]c[eéè]d|statut|survie|fallec|muert|"
                         r"estado|stato|overleden|(^|[^a-z])(tod|tot)([^a-z]|$)|deceas|dead|death|died|vital|alive|censor|surviv|event|"
                         r"(^|[^a-z])(os|dss|pf[is]|df[is]|rfs|status|fustat)([^a-z]|$)", re.IGNORECASE)  # fmt: skip


def find(columns: Iterable[object], names: tuple[str, ...]) -> str | None:
    """Return the first of ``names`` that a table has, whatever its case."""
    lower: dict[str, str] = {}
    for column in columns:
        lower.setdefault(str(column).lower(), str(column))
    return next((lower[name.lower()] for name in names if name.lower() in lower), None)


def demand(table: pd.DataFrame, stated: str | None, names: tuple[str, ...], setting: str, file: str) -> str | None:
    """Return the stated column, which must exist, or else the first of the usual names, or None."""
    if stated is None:
        return find(table.columns, names)
    if stated not in table.columns:
        raise missing_column(stated, table.columns, file, f"clinical.{setting}")
    return stated


def endpoint_of_name(name: str) -> str | None:
    """Return the endpoint that a column's name states (``dss_days``: DSS), or None."""
    low = name.lower()
    for endpoint, pattern in _ENDPOINTS:
        if re.search(rf"(^|[^a-z])(?:{pattern})", low):
            return endpoint
    return None


def follow_up_candidates(table: pd.DataFrame, used: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the columns that may hold follow-up times, and those that may hold events, by name and content."""
    times, events = [], []
    taken = set(used)
    for column in map(str, table.columns):
        if column in taken:
            continue
        cells = blank(table[column]).dropna()
        if cells.empty:
            continue
        number = pd.to_numeric(cells.str.replace(",", ".", regex=False), errors="coerce")
        if _TIME_LIKE.search(column) and number.notna().mean() > 0.9 and number.nunique() > min(5, len(cells) // 2):
            times.append(column)
        elif _EVENT_LIKE.search(column) and looks_like_event(cells):
            events.append(column)
    return times, events


def is_uuid(cells: pd.Series) -> bool:
    """Whether most cells are UUIDs."""
    return bool(len(cells)) and bool(cells.astype("string").str.fullmatch(_UUID).fillna(False).mean() > 0.9)


def is_running_number(cells: pd.Series) -> bool:
    """Whether the cells count the rows: 0, 1, 2 ... or 1, 2, 3 ..."""
    number = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=float)
    if len(number) < 3 or np.isnan(number).any():
        return False
    return number[0] in (0.0, 1.0) and bool((np.diff(number) == 1).all())


def barcode_share(cells: pd.Series) -> float:
    """Share of cells that are TCGA barcodes, in any writing."""
    return float(np.mean([parse_barcode(str(cell)) is not None for cell in cells])) if len(cells) else 0.0


def patient_column(
    table: pd.DataFrame,
    stated: str | None,
    patients: Iterable[str] | None,
    facts: Facts,
    names: tuple[str, ...] = PATIENT,
    whose: str = "the slide table",
) -> str:
    """Choose the patients' column.

    A column that the config names is taken. Otherwise the column whose values meet the slide table's patients
    is taken, then the first of the usual names, unless it holds UUIDs, a running number or nothing and another
    column holds barcodes.

    Parameters
    ----------
    table : DataFrame
        Every cell as text.
    stated : str or None
        ``clinical.patient``.
    patients : iterable of str or None
        The slide table's patients.
    facts : Facts
        Takes the choice and its reason.
    names : tuple of str
        Usual names, the most preferred first.
    whose : str
        What ``patients`` are of, for messages.

    Raises
    ------
    InputError
        No such column; or none whose values meet the slide table's patients.
    """
    file = facts.about
    patients = list(patients) if patients is not None else None
    wanted = {patient_key(p) for p in patients or ()}
    cells = {str(c): _identifiers(table[c]) for c in table.columns}
    met = {c: _met(values, wanted) for c, values in cells.items()} if wanted else {}
    best = max(met, key=lambda c: met[c]) if met else None
    if stated is not None:
        if stated not in table.columns:
            raise missing_column(stated, table.columns, file, "clinical.patient")
        if best is not None and met[best] and not met[stated]:
            raise InputError(
                f"column {stated!r} (clinical.patient) holds none of the patients of {whose}, column {best!r} "
                f"holds {met[best]} of {len(wanted)}",
                file=file,
                remedy=f"set `clinical.patient: {best}`",
            )
        if best is not None and not met[best]:
            raise _no_patient_met(cells[stated], stated, patients, facts, whose)
        facts.note("patient column", stated, "clinical.patient")
        return stated
    named = find(table.columns, names)
    if best is not None:
        if not met[best]:
            at = named or next((c for c in cells if barcode_share(cells[c]) > 0.9), str(table.columns[0]))
            raise _no_patient_met(cells[at], at, patients, facts, whose)
        if named is not None and 2 * met[named] >= met[best]:
            best = named
        facts.note("patient column", best, f"meets {met[best]} of {len(wanted)} patients of {whose}")
        _say_passed_over(named, best, cells, facts)
        return best
    why = _unusable(cells[named]) if named is not None else "there is none of the usual names"
    if why:
        barcodes = [c for c in cells if len(cells[c]) and barcode_share(cells[c]) > 0.9]
        better = find(barcodes, names) or (barcodes[0] if barcodes else None)
        if better is not None:
            facts.note("patient column", better, "its values are TCGA barcodes")
            _say_passed_over(named, better, cells, facts)
            return better
        usable = find([c for c in cells if c != named and len(cells[c]) and not _unusable(cells[c])], names)
        if named is not None and usable is not None:
            facts.note("patient column", usable, "by its name")
            _say_passed_over(named, usable, cells, facts)
            return usable
    if named is None:
        raise missing_column("patient_id", table.columns, file, "clinical.patient")
    if why and is_uuid(cells[named]):
        facts.warn("patient column", f"{named} holds UUIDs; slides and expression rarely use them",
                   "content", "name the column of identifiers in `clinical.patient`")  # fmt: skip
    facts.note("patient column", named, "by its name")
    return named


def _met(cells: pd.Series, wanted: set[str]) -> int:
    """How many of the wanted patients a column names, with or without a number behind (``P12_1``)."""
    names = set(cells)
    keys = {patient_key(name) for name in names}
    return len(wanted & (keys | {patient_key(without_suffix(name)) for name in names}))


def without_suffix(name: str) -> str:
    """Return an identifier that is no barcode without the number behind it (``P12_1``: ``P12``)."""
    match = None if parse_barcode(name) else _SUFFIX.match(name)
    return match["base"] if match else name


def _identifiers(column: pd.Series) -> pd.Series:
    text = column.astype("string").str.strip()
    return text[text.notna() & (text != "")]


def _unusable(cells: pd.Series) -> str | None:
    if cells.empty or blank(cells).isna().all():
        return "is empty"
    if is_uuid(cells):
        return "holds UUIDs"
    if is_running_number(cells):
        return "holds a running number"
    return None


def _say_passed_over(named: str | None, chosen: str, cells: dict[str, pd.Series], facts: Facts) -> None:
    if named is not None and named != chosen:
        why = _unusable(cells[named]) or "meets fewer patients"
        facts.note("column not used for patients", named, why)


def _no_patient_met(
    cells: pd.Series, column: str, patients: Iterable[str] | None, facts: Facts, whose: str
) -> InputError:
    ours, theirs = [*dict.fromkeys(cells)][:2], [*dict.fromkeys(patients or ())][:2]
    kind = " (UUIDs)" if is_uuid(cells) else ""
    return InputError(
        f"no patient of {whose} is in any column: column {column!r} holds {', '.join(map(str, ours))}{kind}, {whose} "
        f"{', '.join(map(str, theirs))}",
        file=facts.about,
        remedy="make the identifiers agree, or name the column in `clinical.patient`",
    )
