"""What an expression file and a clinical table hold, through the workflow's own readers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..config.sources import ClinicalSource, ExpressionSource
from ..core.barcodes import parse
from ..core.errors import InputError
from ..readers.clinical import read_clinical
from ..readers.clinical.base import blank
from ..readers.expression.read import read_expression
from ..readers.tables import read_table

LEAST = 5  # patients that a class needs (the default of min_label_count)
_TIME = re.compile(r"time|days|months|years|surviv|follow", re.IGNORECASE)
_EVENT = re.compile(r"status|event|dead|death|died|deceas|vital|censor|^(os|dss|pfi|dfi|pfs|dfs)$", re.IGNORECASE)
_TABLES = (".tsv", ".csv", ".txt", ".gz", ".zip", ".parquet", ".h5ad", ".xz", ".bz2")
# Files of a clinical download that hold the patients themselves, the preferred first.
_CLINICAL = ("data_clinical_patient.txt", "clinical.tsv", "clinical.csv", "clinical.txt")


@dataclass
class Row:
    """One line of the table that `init` prints.

    Attributes
    ----------
    what, value : str
        The subject, and what was recognised.
    edit : str
        Configuration key to edit, or another remedy, where something is open; empty where nothing is.
    state : {"ok", "look", "open"}
        ``look``: recognised, with something to check. ``open``: could not be decided.
    """

    what: str
    value: str
    edit: str = ""
    state: str = "ok"


@dataclass
class Table:
    """What was recognised of one file.

    Attributes
    ----------
    path : str
        The file or folder that the configuration names.
    format : str
        Format, empty where the file could not be read.
    patients : set of str
    settings : dict
        Keys of the configuration.
    rows : list of Row
    alternatives : dict of str to list of str
        Role to other columns that would do.
    labels, follow_up : bool
        Whether the patients have classes to tell apart, and follow-up (clinical table).
    """

    path: str
    format: str = ""
    patients: set[str] = field(default_factory=set)
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    alternatives: dict[str, list[str]] = field(default_factory=dict)
    labels: bool = False
    follow_up: bool = False


def _one_file(path: Path, preferred: tuple[str, ...] = ()) -> Path:
    """A folder's only table, or the preferred one of several."""
    if not path.exists():
        raise InputError("no such file or folder", file=path, remedy="correct the path")
    if path.is_file():
        return path
    for name in preferred:
        for found in sorted(path.rglob(name)):
            return found
    tables = sorted(f for f in path.rglob("*") if f.suffix.lower() in _TABLES and not f.name.startswith("."))
    if len(tables) == 1:
        return tables[0]
    some = ", ".join(str(f.relative_to(path)) for f in tables[:6])
    raise InputError(
        f"{len(tables)} tables in this folder ({some})" if tables else "no table in this folder",
        file=path,
        remedy="name the file itself",
    )


def recognise_expression(path: str | Path, patients: Iterable[str] | None, sheets: list[Path]) -> Table:
    """Read an expression file or a folder of GDC STAR counts.

    Parameters
    ----------
    path : path-like
    patients : iterable of str or None
        Patients with a slide; only their samples are read. None reads everyone.
    sheets : list of Path
        Sample sheets that were given or found.

    Returns
    -------
    Table
        With a row of state ``open`` in place of an error.
    """
    given = Path(path)
    star = list(given.rglob("*star_gene_counts.tsv*")) if given.is_dir() else []
    if star and not _sheet_for(star, sheets) and not any(parse(f.name) or parse(f.parent.name) for f in star):
        problem = f"{len(star)} STAR files, and no file or folder name holds a patient ({star[0].name})"
        remedy = "download the Sample Sheet of the same cart (not the manifest) and give it with --sample-sheet"
        return Table(str(given), settings={"path": str(given)}, rows=[Row("expression", problem, remedy, "open")])
    try:
        file = given if star else _one_file(given)
        out = Table(str(file), settings={"path": str(file)})
        sheet = _sheet_for(star, sheets)
        if sheet:
            out.settings["sample_sheet"] = str(sheet)
        source, wanted = ExpressionSource(**out.settings), set(patients) if patients is not None else None
        try:
            adata, report = read_expression(source, wanted)
        except InputError:
            if wanted is None:
                raise
            adata, report = read_expression(source, None)  # no patient in common: still say what the file holds
    except InputError as error:
        row = Row("expression", _said(error), _key(error, "expression"), "open")
        return Table(str(given), settings={"path": str(given)}, rows=[row])
    values = report["values"]
    out.format = report["format"]
    out.patients = set(map(str, adata.obs_names))
    out.rows.append(Row("expression", f"{report['format']}: {adata.n_obs} patients x {adata.n_vars} genes"))
    kind = f"{values['kind']} ({values.get('reason', 'stated')})"
    out.rows.append(Row("kind of values", kind, "expression.values where this is wrong"))
    how = report.get("reader", {}).get("samples_named_by")
    if how:
        out.rows.append(Row("samples named by", ", ".join(f"{k} {v}" for k, v in how.items())))
    out.rows += [Row("expression", line, "docs/expression_and_clinical.md", "look") for line in report["warnings"]]
    return out


def _sheet_for(star: list[Path], sheets: list[Path]) -> Path | None:
    """The sheet that names most of the STAR files."""
    names = {file.name.removesuffix(".gz") for file in star}
    best, most = None, 0
    for sheet in sheets:
        table = read_table(sheet)
        column = next((c for c in table.columns if str(c).lower() in ("file name", "file_name")), None)
        hits = 0 if column is None else int(table[column].str.removesuffix(".gz").isin(names).sum())
        if hits > most:
            best, most = sheet, hits
    return best


def _said(error: InputError) -> str:
    return f"{error.problem}{f'; {error.remedy}' if error.remedy else ''}"


def _key(error: InputError, section: str) -> str:
    """The key that an error asks for, as ``clinical.event``."""
    found = re.search(rf"`({section}\.\w+)`", error.remedy or "")
    return found[1] if found else section


def recognise_clinical(path: str | Path, label: str | None = None) -> Table:
    """Read a clinical table; columns that would do for label, time and event are listed.

    Returns
    -------
    Table
        With rows of state ``open`` for what could not be decided.
    """
    given = Path(path)
    try:
        file = _one_file(given, _CLINICAL)
        raw = read_table(file, without=("_rnaseq", "_cnv", "_mut"))
    except InputError as error:
        return Table(
            str(given), settings={"path": str(given)}, rows=[Row("clinical", _said(error), "clinical", "open")]
        )
    out = Table(str(file), settings={"path": str(file)})
    if label:
        out.settings["label"] = label
    out.alternatives = _candidates(raw, file)
    open_row = None
    try:
        frame, report = read_clinical(ClinicalSource(**out.settings))  # type: ignore[operator]
    except InputError as error:
        open_row = Row("time and event", _said(error), _key(error, "clinical"), "open")
        try:  # without follow-up it may still tell patients and labels
            frame, report = read_clinical(ClinicalSource(**out.settings, endpoint="none"))  # type: ignore[operator]
        except InputError:
            out.rows.append(Row("clinical", open_row.value, open_row.edit, "open"))
            return out
    columns = {k: v for k, v in report.get("columns", {}).items() if v}
    out.format = report["format"]
    out.patients = set(frame["patient_id"].astype(str))
    out.rows.append(Row("clinical", f"{report['format']}: {len(frame)} patients"))
    out.rows.append(Row("patient column", str(columns.get("patient_id", "?"))))
    _label_rows(out, frame, columns.get("label"))
    if open_row:
        out.rows.append(open_row)
        out.follow_up = True  # expected: the workflow asks for it until it is named, or `endpoint: none` is set
    else:
        _time_rows(out, frame, columns, report)
    out.rows += _others(out, columns)
    if columns.get("label") and out.labels:
        out.settings["label"] = columns["label"]
    if report["format"] == "table":
        out.settings |= {k: columns[r] for k, r in (("patient", "patient_id"), ("time", "time"), ("event", "event"))
                         if columns.get(r)}  # fmt: skip
        if out.follow_up and not open_row:
            out.settings["time_unit"] = report["time_unit"]
            out.settings["event_is"] = "1_event" if report["one_means"] == "event" else "1_censored"
    out.rows += [Row("clinical", line, "docs/expression_and_clinical.md", "look") for line in report["warnings"]]
    return out


def _candidates(raw: pd.DataFrame, file: Path) -> dict[str, list[str]]:
    """Columns that would do for each role."""
    beside = file.with_name(file.name.replace("patient", "sample"))
    tables = [raw]
    if beside != file and beside.is_file():
        tables.append(read_table(beside))
    labels, times, events = [], [], []
    for table in tables:
        for name in map(str, table.columns):
            cells = blank(table[name]).dropna()
            counts = cells.value_counts()
            numeric = pd.to_numeric(cells, errors="coerce").notna().mean() > 0.9 if len(cells) else False
            if _EVENT.search(name) and 1 <= len(counts) <= 4:
                events.append(name)
            elif _TIME.search(name) and numeric and len(counts) > 4:
                times.append(name)
            elif not numeric and 2 <= (counts >= LEAST).sum() <= 12 and len(counts) <= max(20, len(cells) // 10):
                shown = ", ".join(f"{k} {v}" for k, v in counts.head(3).items())
                labels.append(f"{name} ({len(counts)}: {shown}{' ...' if len(counts) > 3 else ''})")
    return {"label": labels, "time": times, "event": events}


def _label_rows(out: Table, frame: pd.DataFrame, column: str | None) -> None:
    counts = frame["label"].value_counts()
    out.labels = int((counts >= LEAST).sum()) >= 2
    others = [c for c in out.alternatives["label"] if c.split(" (")[0] != column][:6]
    shown = ", ".join(f"{k} {v}" for k, v in counts.head(6).items()) or "no values"
    if column and out.labels:
        out.rows.append(Row("label", f"{column}: {shown}", "clinical.label for another"))
    elif column:
        out.rows.append(
            Row("label", f"{column} has no two classes of {LEAST} patients ({shown})", "clinical.label", "open")
        )
    else:
        out.rows.append(Row("label", "no column was recognised", "clinical.label", "open"))
    if others:
        out.rows.append(Row("label, alternatives", "; ".join(others)))


def _time_rows(out: Table, frame: pd.DataFrame, columns: dict[str, Any], report: dict[str, Any]) -> None:
    has = frame["time_days"].notna() & frame["event"].notna()
    out.follow_up = bool(has.any())
    if columns.get("time") and out.follow_up:
        years = frame.loc[has, "time_days"].median() / 365.25
        out.rows.append(
            Row(
                "time and event",
                f"{columns['time']} ({report.get('time_unit')}) and {columns['event']}: {int(has.sum())} patients, "
                f"{int(frame.loc[has, 'event'].sum())} events, median follow-up {years:.1f} years",
                "clinical.time, clinical.event for others",
            )
        )
    else:
        out.rows.append(Row("time and event", "not recognised", "clinical.time, clinical.event", "open"))


def _others(out: Table, columns: dict[str, Any]) -> list[Row]:
    """The other columns of times and events."""
    rows = []
    for role in ("time", "event"):
        others = [c for c in out.alternatives[role] if c != columns.get(role)][:6]
        if others:
            rows.append(Row(f"{role}, alternatives", ", ".join(others)))
    return rows
