"""Several clinical tables of one cohort: other patients, or other columns of the same patients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ...config.sources import ClinicalSource
from ...core.errors import InputError
from ...core.facts import Facts
from . import columns as usual
from .columns import patient_column
from .formats import PATIENT, detect_format
from .layout import RawTable
from .visits import canonical_ids

UNITS_APART = 8.0
"""Median times of two tables that differ by more than this factor are said: months are 30 days, years 12 months."""
EVENTS_APART = 0.5
"""Shares of patients with the event that differ by more than this are said: in one table 1 may mean censored."""
FEWEST = 5
"""Times of a table without which its median says nothing."""


class Stacked(NamedTuple):
    """The rows of all tables, one table below the other.

    Attributes
    ----------
    frame : DataFrame
        Every cell as text, empty where a table lacks the column.
    units : dict
        Column to the unit that a line of units states.
    origin : Series of str
        The table's file name, by row of ``frame``.
    """

    frame: pd.DataFrame
    units: dict[str, str]
    origin: pd.Series


def stack_tables(
    first: pd.DataFrame,
    units: dict[str, str],
    patient: str,
    form: str,
    source: ClinicalSource,
    wanted: list[str] | None,
    facts: Facts,
    read: Callable[[str, Facts], RawTable],
    identify: Callable[[pd.Series, str, Facts], pd.Series],
) -> Stacked:
    """Put the rows of ``source.further`` below those of the first table.

    A patient of several tables becomes one row later, as a patient of several rows does. A column whose name differs
    from one of the tables above by case alone is that column.

    Parameters
    ----------
    first : DataFrame
        The first table, identifiers in canonical form.
    units : dict
        What its line of units states.
    patient : str
        Its patients' column.
    form : str
        Its format.
    source : ClinicalSource
        ``further`` lists the other tables.
    wanted : list of str or None
        The slide table's patients.
    facts : Facts
        Takes what was joined.
    read : callable
        ``read(path, facts)`` gives a table as text, without its row numbers.
    identify : callable
        Checks identifiers and gives them as text.

    Raises
    ------
    InputError
        Tables of different formats; a table that shares neither a column nor a patient with those above; two units of
        one column. Names the table.
    """
    frame, units = first.reset_index(drop=True), dict(units)
    origin = [Path(source.path).name] * len(frame)
    for path in source.further:
        own, name = Facts(path), Path(path).name
        table, stated_units = read(path, own)
        theirs = detect_format(table, source, own)
        if theirs not in (form, "table"):
            raise InputError(
                f"looks like {theirs}, {source.path} like {form}: the tables of one cohort must be of one format",
                file=path,
                remedy="name it first"
                if form == "table"
                else "give tables of one format, or make them cohorts of their own and pool these (`joint`)",
            )
        stated = source.patient if source.patient in table.columns else None
        column = patient_column(table, stated, wanted, own, (patient, *PATIENT.get(form, usual.PATIENT)))
        ids = canonical_ids(identify(table[column], column, own), wanted, own)
        if column != patient and patient in table.columns:
            table = table.drop(columns=patient)
        spelt = {c.lower(): c for c in map(str, frame.columns)}
        new_names = {c: spelt[str(c).lower()] for c in table.columns if c not in frame and str(c).lower() in spelt}
        new_names = {c: to for c, to in new_names.items() if to not in table.columns}
        table = table.rename(columns={**new_names, column: patient}).assign(**{patient: ids})
        shared = [c for c in table.columns if c in frame.columns and c != patient]
        both = set(table[patient]) & set(frame[patient])
        if not shared and not both:
            raise InputError(
                f"shares neither a column nor a patient with {', '.join(dict.fromkeys(origin))}",
                file=path,
                remedy="make column names or identifiers agree, or name the patients' column in `clinical.patient`",
            )
        for c, unit in stated_units.items():
            if units.setdefault(new_names.get(c, c), unit) != unit:
                raise InputError(
                    f"column {c!r} is in {unit}, in the tables before it in {units[new_names.get(c, c)]}",
                    file=path,
                    remedy="bring the tables to one unit",
                )
        facts.extend(own, prefix=f"{name}: ")
        facts.note(
            "tables joined",
            f"{name}: {len(table)} rows of {table[patient].nunique()} patients, {len(both)} of them in the tables "
            f"before it; shared columns {', '.join(shared[:8]) or 'none'}"
            + (f"; renamed {', '.join(f'{a} -> {b}' for a, b in new_names.items())}" if new_names else ""),
            "clinical.path",
        )
        _say_lacking(frame, table, patient, name, source, facts)
        frame = pd.concat([frame, table], ignore_index=True).fillna("")
        origin += [name] * len(table)
    return Stacked(frame, units, pd.Series(origin, index=frame.index))


def _say_lacking(
    frame: pd.DataFrame, table: pd.DataFrame, patient: str, name: str, source: ClinicalSource, facts: Facts
) -> None:
    """Say how many patients have no value of a column that the config names, since their table lacks it."""
    named = [("label", source.label), ("time", source.time), ("event", source.event), ("site", source.site)]
    named += [("covariates", column) for column in source.covariates]
    for role, column in named:
        if column is None or (column in table.columns) == (column in frame.columns):
            continue
        lacking, having = (table, frame) if column in frame.columns else (frame, table)
        without = set(lacking[patient]) - set(having[patient])
        if without:
            facts.warn(
                role,
                f"{len(without)} patients have no column {column} (clinical.{role}): "
                + (f"{name} lacks it" if lacking is table else f"the tables before {name} lack it"),
                "clinical.path",
                "give the column one name in all tables",
            )


def compare_tables(frame: pd.DataFrame, label: Iterable[object] | None, origin: pd.Series, facts: Facts) -> None:
    """State times, events and labels by table, and say times that look as if of another unit.

    Parameters
    ----------
    frame : DataFrame
        ``time_days`` and ``event`` by row.
    label : iterable or None
        Labels by row.
    origin : Series of str
        Table of each row.
    facts : Facts
    """
    if frame["time_days"].notna().any():
        known = frame["time_days"].notna() & (frame["time_days"] > 0)
        by_table = frame.loc[known, "time_days"].groupby(origin[known])
        median = by_table.median()[by_table.size() >= FEWEST]
        shown = ", ".join(f"{name} {value:.0f}" for name, value in median.items())
        facts.note("time by table", f"median days {shown}", "clinical.path")
        if len(median) > 1 and median.max() > UNITS_APART * median.min():
            facts.warn(
                "times of the tables",
                f"medians differ by a factor of {median.max() / median.min():.0f} ({shown} days)",
                "clinical.path",
                "check that all tables state times in one unit",
            )
        events = frame["event"].groupby(origin).agg(lambda cells: f"{int((cells == 1).sum())} of {cells.notna().sum()}")
        facts.note("events by table", dict(events), "clinical.path")
        share = frame["event"].groupby(origin).mean()[frame["event"].groupby(origin).count() >= 2 * FEWEST]
        if len(share) > 1 and share.max() - share.min() > EVENTS_APART:
            facts.warn(
                "events of the tables",
                f"{share.idxmax()} has the event in {share.max():.0%} of the patients, {share.idxmin()} in "
                f"{share.min():.0%}",
                "clinical.path",
                "check that 1 means the same in all tables; write the words of the vital status where it does not",
            )
    if label is not None:
        cells = pd.Series(list(label), index=origin.index).replace("", pd.NA).dropna()
        counts = cells.groupby(origin[cells.index]).value_counts()
        text = {name: " ".join(f"{k} {v}" for k, v in part.droplevel(0).head(8).items())
                for name, part in counts.groupby(level=0)}  # fmt: skip
        if text:
            facts.note("labels by table", text, "clinical.path")
