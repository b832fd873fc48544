"""`read_clinical`: any supported clinical table to one row a patient."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...config.sources import ClinicalSource
from ...core.barcodes import patient_id, site_of
from ...core.errors import InputError
from ..tables import missing_column, read_table
from . import cbioportal, gdc, porpoise, table, tcga_cdr
from .base import Parsed, blank, to_event, to_number, to_sex, to_stage, uncapped
from .plausibility import check_followup, check_vital

log = logging.getLogger("mirror")
CANONICAL = ["patient_id", "label", "time_days", "event", "site", "age", "sex", "stage"]
READERS = {
    "table": table.parse,
    "tcga_cdr": tcga_cdr.parse,
    "cbioportal": cbioportal.parse,
    "gdc": gdc.parse,
    "porpoise": porpoise.parse,
}


def detect_format(columns: pd.Index) -> str:
    """Recognise a clinical table by its columns; anything unknown is a plain ``table``."""
    names = {str(column).lower() for column in columns}
    bare = {name.split(".")[-1] for name in names}
    if {"os", "os.time"} <= names and {"bcr_patient_barcode", "_patient"} & names:
        return "tcga_cdr"
    if {"case_id", "survival_months", "censorship"} <= names:
        return "porpoise"
    if {"vital_status", "days_to_death"} <= bare and {"days_to_last_follow_up", "days_to_last_followup"} & bare:
        return "gdc"
    if "patient_id" in names and {"os_status", "pfs_status", "dfs_status", "dss_status"} & names:
        return "cbioportal"
    if {"patient id", "overall survival status", "overall survival (months)"} <= names:
        return "cbioportal"
    return "table"


def read_clinical(source: ClinicalSource) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a clinical table.

    Parameters
    ----------
    source : ClinicalSource
        Path, format, endpoint, and for plain tables the columns.

    Returns
    -------
    df : pandas.DataFrame
        One row a patient: patient_id, label (str), time_days (float), event (1.0 it happened, 0.0 censored),
        site (str), age (years), sex (``female``/``male``), stage (``0`` to ``IV``), then the covariates named in
        the config. Missing is NaN. A patient without usable follow-up stays, with NaN time and event.
    report : dict
        Format, columns, unit and polarity used, counts, plausibility, ``flow`` (rows of the cohort flow) and
        ``warnings``.

    Raises
    ------
    InputError
        When the file or a column is missing, a cell cannot be read, or the events contradict the vital status.
    """
    file = str(source.path)
    raw = read_table(source.path, without=("_rnaseq", "_cnv", "_mut"))
    form = source.format if source.format != "auto" else detect_format(raw.columns)
    parsed = READERS[form](_selectable(raw), source)
    overridden = _override(parsed, source, form)
    frame = parsed.frame
    if "time" in frame:
        frame["time_days"] = to_number(frame["time"], "time", file) * parsed.days_a_unit
        frame["event"] = to_event(frame["event"], parsed.one_means, str(parsed.facts["columns"]["event"]), file)
    else:
        frame["time_days"], frame["event"] = np.nan, np.nan
        parsed.warnings.append("no follow-up columns: survival will be skipped")
    out = _canonical(frame, raw, source, file)
    out, joined = _one_row_a_patient(out)
    report: dict[str, Any] = {
        "format": form,
        "source": Path(file).name,
        "rows": len(raw),
        "patients": len(out),
        "one_means": parsed.one_means,
        "days_a_unit": parsed.days_a_unit,
        "overridden": overridden,
        **parsed.facts,
        "rows_joined": joined,
    }
    out, report["flow"], report["times"] = _clean_times(out, source)
    numbers, warnings = check_followup(out["time_days"], out["event"])
    report["plausibility"] = numbers
    parsed.warnings += warnings if "time" in frame else []
    if joined["patients_with_conflicts"]:
        parsed.warnings.append(
            f"{joined['patients_with_conflicts']} patients have rows that disagree "
            f"({', '.join(joined['conflicts'])}); the first value that is not missing counts"
        )
    if parsed.vital and source.endpoint == "OS":
        vital = pd.Series(frame[parsed.vital].to_numpy(), index=frame["patient_id"].map(patient_id))
        share, compared = check_vital(out.set_index("patient_id")["event"], vital[~vital.index.duplicated()])
        report["plausibility"]["agrees_with_vital_status"] = share
        if share is not None and compared >= 5 and share < 0.5:
            raise InputError(
                f"events contradict the vital status of {1 - share:.0%} of {compared} patients: polarity is reversed",
                file=file,
                remedy="correct `clinical.event_is`",
            )
    report["label_counts"] = {str(k): int(v) for k, v in out["label"].value_counts().items()}
    report["missing_label"] = int(out["label"].isna().sum())
    report["warnings"] = parsed.warnings
    for line in parsed.warnings:
        log.warning("%s: %s", report["source"], line)
    log.info("%s: %d patients, %d events (%s)", report["source"], len(out), int(numbers["events"]), form)
    return out, report


def _selectable(raw: pd.DataFrame) -> pd.DataFrame:
    """Leave out the row numbers that a data frame was saved with; an index of barcodes is the patients' column."""
    if str(raw.columns[0]) not in {"", "Unnamed: 0"}:
        return raw
    if table.find(raw.columns, table.PATIENT) is None and not raw.iloc[:, 0].str.fullmatch(r"\d*").any():
        return raw.rename(columns={raw.columns[0]: "patient_id"})
    return raw.drop(columns=raw.columns[0])


def _override(parsed: Parsed, source: ClinicalSource, form: str) -> dict[str, str]:
    """Let the config's unit and polarity overrule those of the format; say so."""
    from .base import DAYS

    said: dict[str, str] = {}
    if form == "table":
        return said
    if source.time_unit != "auto" and not str(parsed.facts.get("time_unit", "")).startswith(source.time_unit):
        said["time_unit"] = f"{parsed.facts.get('time_unit')} -> {source.time_unit}"
        parsed.days_a_unit = DAYS[source.time_unit]
    stated = {"1_event": "event", "1_censored": "censored"}.get(source.event_is)
    if stated and stated != parsed.one_means:
        said["one_means"] = f"{parsed.one_means} -> {stated}"
        parsed.one_means = stated
    for what, how in said.items():
        parsed.warnings.append(f"the config overrules the format's {what}: {how}")
    return said


def _canonical(frame: pd.DataFrame, raw: pd.DataFrame, source: ClinicalSource, file: str) -> pd.DataFrame:
    """Bring every column to its canonical form, rows still as in the file."""
    ids = blank(frame["patient_id"])
    if ids.isna().any():
        at = int(ids.isna().to_numpy().argmax())
        raise InputError("the patient identifier is missing", file=file, row=f"data row {at + 1}", remedy="fill it in")
    out = pd.DataFrame({"patient_id": [patient_id(str(value)) for value in ids]})
    index = frame.index
    for role in ("label", "site"):
        out[role] = (blank(frame[role]) if role in frame else pd.Series(np.nan, index, dtype=object)).to_numpy()
    tcga_site = pd.Series([site_of(value) for value in out["patient_id"]], dtype=object)
    out["site"] = tcga_site.where(tcga_site.notna() & (source.site is None), out["site"])
    out["time_days"], out["event"] = frame["time_days"].to_numpy(), frame["event"].to_numpy()
    out["age"] = to_number(uncapped(frame["age"]), "age", file).to_numpy() if "age" in frame else np.nan
    out["sex"] = to_sex(frame["sex"]).to_numpy(dtype=object) if "sex" in frame else np.nan
    out["stage"] = to_stage(frame["stage"]).to_numpy() if "stage" in frame else np.nan
    out = out[CANONICAL]
    for column in source.covariates:
        if column in CANONICAL:
            continue
        if column not in raw.columns:
            raise missing_column(column, raw.columns, file, "clinical.covariates")
        text = blank(raw[column])
        number = pd.to_numeric(text, errors="coerce")
        out[column] = (number if number.notna().sum() == text.notna().sum() else text).to_numpy()
    return out


def _one_row_a_patient(df: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Join a patient's rows: of each column the first value that is not missing; conflicts are counted."""
    groups = df.groupby("patient_id", sort=False)
    different = groups.nunique(dropna=True) > 1
    report = {
        "patients_with_several_rows": int((groups.size() > 1).sum()),
        "patients_with_conflicts": int(different.any(axis=1).sum()),
        "conflicts": {str(name): int(n) for name, n in different.sum().items() if n},
        "examples": [str(name) for name in different.index[different.any(axis=1)][:10]],
    }
    return groups.first().reset_index()[df.columns], report


def _clean_times(df: pd.DataFrame, source: ClinicalSource) -> tuple[pd.DataFrame, list[dict[str, Any]], dict[str, int]]:
    """Apply the rules for zero, negative and missing times; return the flow's rows and the counts."""
    df = df.copy()
    has_time, has_event = df["time_days"].notna(), df["event"].notna()
    negative = df["time_days"] < 0
    zero = df["time_days"] == 0
    counts = {
        "without_time": int((~has_time).sum()),
        "without_event": int((~has_event).sum()),
        "negative": int(negative.sum()),
        "zero": int(zero.sum()),
        "zero_with_event": int((zero & (df["event"] == 1)).sum()),
    }
    flow: list[dict[str, Any]] = []
    kept = len(df)
    flow.append(_step("in the clinical table", kept, 0, ""))
    gone = ~(has_time & has_event)
    steps = [("time and event known", gone, "no time or no event; they stay for subtyping")]
    rules = [
        ("negative times", negative & ~gone, source.negative_times),
        ("times of zero", zero & ~gone, source.zero_times),
    ]
    for name, mask, rule in rules:
        if not mask.any():
            continue
        if rule == "error":
            raise InputError(
                f"{int(mask.sum())} patients have {name} ({', '.join(df.loc[mask, 'patient_id'].head(3))})",
                file=source.path,
                remedy=f"set `clinical.{'zero_times' if 'zero' in name else 'negative_times'}`, or correct the table",
            )
        if rule == "half_day":
            df.loc[mask, "time_days"] = 0.5
        elif rule == "missing":
            steps.append((f"without {name}", mask, f"{name}; they stay for subtyping"))
        if rule in {"half_day", "keep"}:
            steps.append((f"{name} ({int(mask.sum())}): {rule}", pd.Series(False, df.index), ""))
    for name, mask, reason in steps:
        kept -= int(mask.sum())
        df.loc[mask, ["time_days", "event"]] = np.nan
        flow.append(_step(f"follow-up: {name}", kept, int(mask.sum()), reason if mask.any() else ""))
    return df, flow, counts


def _step(step: str, kept: int, dropped: int, reason: str) -> dict[str, Any]:
    return {"step": step, "unit": "patients", "kept": kept, "dropped": dropped, "reason": reason}
