"""A plain clinical table; its columns are named in the config, or bear usual names."""

from __future__ import annotations

import re

import pandas as pd

from ...config.sources import ClinicalSource
from ...core.errors import InputError
from ...core.facts import Facts
from ..tables import missing_column
from . import columns as usual
from .base import ANSWERS, DAYS, Parsed, blank, to_number, unit_of_name
from .columns import demand, endpoint_of_name, find, follow_up_candidates
from .polarity import vital_by_dates

_CENSOR = re.compile(r"censor", re.IGNORECASE)
_HAPPENED = re.compile(
    r"event|status|dead|death|died|deceased|vital|fustat|progress|relaps|recurr|verstorben|gestorben|d[eé]c[eéè]d|mort|"
    r"fallec|muert|overleden|(^|[^a-z])(tod|tot)([^a-z]|$)|(^|_)(os|dss|pf[is]|df[is]|rfs)(_ind)?$",
    re.IGNORECASE,
)
_FREE = re.compile(
    r"(^|[^a-z])(alive|living|survived|surviving|lebt|lebend|am leben|vivante?|en vie|vivo|viva|in leven|"
    r"(event|disease|progression|relapse|recurrence)[ _.-]?free)$",
    re.IGNORECASE,
)
"""Names of columns in which 1, or yes, means that the event did not happen."""
_DEATH = re.compile(r"dead|death|deceas|died", re.IGNORECASE)
_STATE = re.compile(r"vital|survival.?status", re.IGNORECASE)
"""Names that ask no question which yes or no would answer."""
_CODE_IS = re.compile(r"(?P<code>[01])\s*[=:]\s*(?P<word>[a-zé ]+)", re.IGNORECASE)
_FREE_WORD = re.compile(r"alive|living|censor|surviv|lebt|lebend|viv|free|^no ", re.IGNORECASE)
_ENDS = ("_days", "_months", "_years", "_time", ".time")


def parse(table: pd.DataFrame, source: ClinicalSource, patient: str, facts: Facts, units: dict[str, str]) -> Parsed:
    """Read a plain table.

    The unit is taken from the config, from the time column's name (``..._days``, ``..._months``) or from a line of
    units below the header; the polarity from the config, or from the event column's name (``censor...``: 1 =
    censored) or its words. A table with a vital status, a date of death and one of the last contact gives overall
    survival from these.

    Parameters
    ----------
    table : DataFrame
        Every cell as text.
    source : ClinicalSource
        Stated columns, unit and polarity.
    patient : str
        The patients' column.
    facts : Facts
        Takes what was found.
    units : dict
        Units that the file states, by column.

    Raises
    ------
    InputError
        When a stated column is missing, unit or polarity cannot be told, time and event are of two endpoints, or
        columns look like follow-up and none is recognised.
    """
    file = str(source.path)
    label = demand(table, source.label, usual.LABEL, "label", file)
    columns: dict[str, str | None] = {"patient_id": patient, "label": label}
    if source.endpoint == "none":
        time = event = None
    else:
        time, event = _follow_up(table, source, file)
    columns |= {"time": time, "event": event}
    for role, names in usual.OTHERS.items():
        columns[role] = demand(table, getattr(source, role, None), names, role, file)
    if columns["vital"] == event:
        columns["vital"] = None
    used = {role: column for role, column in columns.items() if column is not None}
    frame = pd.DataFrame({role: table[column] for role, column in used.items()})
    if "age" in frame and re.search(r"days", used["age"], re.IGNORECASE):
        frame["age"] = to_number(frame["age"], used["age"], file) / 365.25
    said: dict[str, object] = {"columns": used, "time_unit": "days"}
    for role, names in (("death_days", usual.DEATH), ("last_days", usual.LAST)):
        column = find([c for c in table.columns if str(c) not in (time, event)], names)
        if column is not None:
            try:
                frame[role] = to_number(table[column], column, file)
            except InputError:  # it is only compared with the vital status
                continue
    if time is None and source.endpoint == "OS" and _has_dates(table, source):
        return _from_dates(table, frame, used, said, facts)
    if time is None:
        if source.endpoint != "none":
            _say_no_follow_up(table, used, facts)
        return Parsed(frame, 1.0, "event", said)
    assert event is not None
    unit = _unit(time, source, units, facts)
    said["time_unit"] = unit
    return Parsed(frame, DAYS[unit], polarity(event, table, source, file), said)


def _follow_up(table: pd.DataFrame, source: ClinicalSource, file: str) -> tuple[str | None, str | None]:
    """The columns of time and event, which must be of one endpoint."""
    times, events = usual.TIME, usual.EVENT
    if source.endpoint != "OS":  # the usual names are those of overall survival, or say no endpoint at all
        name = source.endpoint
        times = tuple(f"{name}{end}" for end in _ENDS)
        events = (f"{name}_event", f"{name}_status", name)
        if find(table.columns, times) is None and source.time is None:
            raise InputError(
                f"has no column of times to {name} (such as {', '.join(times[:2])})",
                file=file,
                remedy="name it in `clinical.time`, and the event's in `clinical.event`",
            )
    time = demand(table, source.time, times, "time", file)
    event = demand(table, source.event, events, "event", file)
    if time is not None and event is not None and source.event is None:
        of_time = endpoint_of_name(time)
        if of_time is not None and endpoint_of_name(event) not in (None, of_time):
            fitting = find(table.columns, (f"{of_time}_event", f"{of_time}_status", of_time))
            if source.endpoint == "OS" and fitting is None and source.time is None:
                time = event = None
            else:
                event = fitting
    if time is not None and event is not None and source.time is None and source.event is not None:
        of_event = endpoint_of_name(event)
        if of_event is not None and endpoint_of_name(time) not in (None, of_event):
            time = find(table.columns, tuple(f"{of_event}{end}" for end in _ENDS))
    if time is not None and event is not None:
        ends = endpoint_of_name(time), endpoint_of_name(event)
        if None not in ends and ends[0] != ends[1]:
            raise InputError(
                f"time column {time!r} is of {ends[0]}, event column {event!r} of {ends[1]}",
                file=file,
                remedy="name two columns of one endpoint in `clinical.time` and `clinical.event`",
            )
        stated = next((e for e in ends if e), None)
        if source.endpoint != "OS" and stated not in (None, source.endpoint):
            raise InputError(
                f"columns {time!r} and {event!r} are of {stated}, `clinical.endpoint` is {source.endpoint}",
                file=file,
                remedy=f"set `clinical.endpoint: {stated}`, or name other columns",
            )
    if (time is None) != (event is None):
        have, lack = ("time", "event") if event is None else ("event", "time")
        if source.time is None and source.event is None and _has_dates(table, source):
            return None, None
        near_times, near_events = follow_up_candidates(table, [c for c in (time, event) if c])
        near = near_times if lack == "time" else near_events
        hint = f"; it may be {', '.join(near[:5])}" if near else ""
        raise (
            missing_column(lack, table.columns, file, f"clinical.{lack}")
            if getattr(source, have) and not near
            else InputError(
                f"has a {have} column ({time or event}) but no {lack} column{hint}",
                file=file,
                remedy=f"name it in `clinical.{lack}`, or set `clinical.endpoint: none`",
            )
        )
    return time, event


def _has_dates(table: pd.DataFrame, source: ClinicalSource) -> bool:
    """Whether vital status, date of death and date of the last contact give overall survival."""
    return (
        source.endpoint == "OS"
        and source.time is None
        and source.event is None
        and all(find(table.columns, names) for names in (usual.OTHERS["vital"], usual.DEATH, usual.LAST))
    )


def _from_dates(
    table: pd.DataFrame, frame: pd.DataFrame, columns: dict[str, str], said: dict[str, object], facts: Facts
) -> Parsed:
    """Overall survival from the vital status and two dates: that of death of the dead, of the last contact else."""
    vital, death, last = (str(find(table.columns, n)) for n in (usual.OTHERS["vital"], usual.DEATH, usual.LAST))
    frame["death_days"] = to_number(table[death], death, facts.about)
    frame["last_days"] = to_number(table[last], last, facts.about)
    dead = vital_by_dates(table[vital], frame["death_days"], vital, facts)
    frame["vital"] = dead.map({1.0: "Dead", 0.0: "Alive"})
    frame["event"] = dead
    frame["time"] = frame["death_days"].where(dead == 1, frame["last_days"]).where(dead.notna())
    columns |= {"time": f"{death} / {last}", "event": vital, "vital": vital}
    return Parsed(frame, 1.0, "event", said)


def _say_no_follow_up(table: pd.DataFrame, columns: dict[str, str], facts: Facts) -> None:
    """No follow-up column is recognised: raise where some may be, else warn."""
    times, events = follow_up_candidates(table, [c for role, c in columns.items() if role != "vital"])
    if times and events:
        facts.refuse(
            "follow-up columns",
            f"none is recognised; times may be in {', '.join(times[:5])}, events in {', '.join(events[:5])}",
            "names and content of columns",
            "name them in `clinical.time` and `clinical.event`, or set `clinical.endpoint: none`",
        )
    near = f"; candidates: {', '.join([*times, *events][:8])}" if times or events else ""
    facts.warn(
        "follow-up columns",
        f"no follow-up columns: survival will be skipped{near}",
        f"columns {', '.join(map(str, table.columns[:12]))}",
        "name them in `clinical.time` and `clinical.event`, or set `clinical.endpoint: none`",
    )


def _unit(column: str, source: ClinicalSource, units: dict[str, str], facts: Facts) -> str:
    named, stated = unit_of_name(column), units.get(column)
    found = named or stated
    if source.time_unit != "auto":
        if found is not None and found != source.time_unit:
            facts.warn("time unit", f"the config says {source.time_unit}, the file {found} for column {column}",
                       "clinical.time_unit", "correct `clinical.time_unit` if the file is right")  # fmt: skip
        return source.time_unit
    if named and stated and named != stated:
        facts.refuse("time unit", f"column {column} is named {named}, the line of units says {stated}",
                     "line of units", "set `clinical.time_unit`")  # fmt: skip
    if column in ("_OS", "_TIME_TO_EVENT"):  # UCSC Xena's older names, always days
        return "days"
    if found is None:
        raise InputError(
            f"the unit of time column {column!r} is not known",
            file=facts.about,
            remedy="set `clinical.time_unit` to days, months or years",
        )
    return found


def polarity(column: str, table: pd.DataFrame, source: ClinicalSource, file: str) -> str:
    """Return what 1 means in an event column: ``event`` or ``censored``."""
    if source.event_is != "auto":
        return "event" if source.event_is == "1_event" else "censored"
    for coded in _CODE_IS.finditer(column):  # the name says it: status (0=alive)
        free, happened = _FREE_WORD.search(coded["word"]), _HAPPENED.search(coded["word"])
        if free or happened:
            return "censored" if bool(free) == (coded["code"] == "1") else "event"
    cells = blank(table[column]).dropna()
    answers = cells.astype("string").str.lower().isin(list(ANSWERS)).any()
    number = pd.to_numeric(cells, errors="coerce").notna()
    if _FREE.search(column) and not _DEATH.search(column):
        return "censored"
    if not (answers and _STATE.search(column)):
        if _CENSOR.search(column):
            return "censored"
        if _HAPPENED.search(column) or not (answers or number.any()):
            return "event"
    raise InputError(
        f"what {'yes' if answers else '1'} means in column {column!r} is not known",
        file=file,
        remedy="set `clinical.event_is` to 1_event or 1_censored",
    )
