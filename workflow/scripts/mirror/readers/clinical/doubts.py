"""What looks wrong in a clinical table and cannot be decided by it: said, never corrected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from ...core.cut_short import tail_absent
from ...core.errors import InputError
from ...core.facts import Facts
from ...core.names import of_two_alphabets
from ...core.patient_keys import keyed, patient_key
from .base import DAYS, blank, numbers_of, unit_of_name
from .columns import TIME, endpoint_of_name

AGREE = 0.05  # relative difference of two times up to which they are one (months are rounded)
ROUNDED = 20.0  # and days, since a month with one decimal is rounded by as much as 1.5 days, a year by 18
MANY_CLASSES = 10


def say_alike(ids: Iterable[object], facts: Facts) -> None:
    """Warn of identifiers that differ by case or separators only and are read as different patients."""
    alike = [names for names in keyed(ids).values() if len(names) > 1]
    if alike:
        facts.warn(
            "identifiers", f"{len(alike)} patients are written in several ways, which are read as different patients",
            "case and separators of identifiers", "write each patient one way",
            examples=(" / ".join(names) for names in alike),
        )  # fmt: skip


def say_empty_rows(raw: pd.DataFrame, patient: str, facts: Facts) -> None:
    """Warn of rows that hold an identifier and nothing else: a footnote, or a patient without data."""
    others = raw.drop(columns=patient)
    if not others.shape[1]:
        return
    empty = (others.astype("string").fillna("").apply(lambda c: c.str.strip()) == "").all(axis=1)
    if empty.any():
        facts.warn(
            "empty rows", f"{int(empty.sum())} rows hold an identifier and nothing else; they count as patients",
            f"column {patient}", "delete them if they are footnotes", examples=raw.loc[empty, patient],
        )  # fmt: skip


def say_cut(ids: pd.Series, wanted: Iterable[str] | None, facts: Facts) -> None:
    """Warn where all patients of the slide table that have no row would follow the last row of a table in order."""
    there = {patient_key(name) for name in ids}
    absent = [key for key in map(patient_key, wanted or ()) if key not in there]
    if tail_absent([patient_key(name) for name in ids], absent):
        facts.warn(
            "last row", f"patients are in alphabetical order and end at {ids.iloc[-1]}; all {len(set(absent))} "
            "patients of the slide table without a row would follow: the rest of the file may be missing",
            "patients of the slide table", "compare the file's size or checksum with its source", examples=absent,
        )  # fmt: skip


_TOTALS = {"total", "totals", "sum", "mean", "average", "median", "n", "summe", "gesamt", "somme"}
_CODES = {0.0, 1.0, 9.0, 99.0, 999.0, 9999.0, 99999.0, 88.0, 888.0, 8888.0, 88888.0}


def say_extra(ids: pd.Series, wanted: Iterable[str] | None, facts: Facts) -> None:
    """Warn of rows that are no patients: sums, and names that begin with a patient's (``P07 (2)``, ``P07-FU2``)."""
    totals = [name for name in ids.astype(str) if name.strip().lower() in _TOTALS]
    if totals:
        facts.warn("rows", f"{len(totals)} rows are called as a sum or mean is, and read as patients", "identifiers",
                   "delete them", examples=totals)  # fmt: skip
    known = set(map(str, wanted or ()))
    longer = {}
    for name in dict.fromkeys(ids.astype(str)):
        starts = [name[: match.start()].rstrip() for match in re.finditer(r"[^0-9A-Za-z]", name)]
        if name not in known and (base := next((start for start in starts if start in known), None)):
            longer[name] = base
    if longer:
        facts.warn(
            "identifiers", f"{len(longer)} identifiers begin with a patient's of the slide table, and are "
            "read as patients of their own", "patients of the slide table",
            "write all rows of a patient under one identifier", examples=(f"{k} of {v}" for k, v in longer.items()),
        )  # fmt: skip


def say_one_time(time_days: pd.Series, event: pd.Series, unit: float, facts: Facts) -> None:
    """Warn where most of the living share one time that is a code for missing; note where they share another."""
    of = (time_days[(event == 0) & time_days.notna()] / unit).round(6)
    if len(of) < 10:
        return
    value, count = float(of.mode().iloc[0]), int((of == of.mode().iloc[0]).sum())
    if count <= len(of) / 2:
        return
    text = f"{count} of {len(of)} patients without the event have the time {value:g}"
    if value in _CODES:
        facts.warn("times", f"{text}: a code for missing, read as a time", "most frequent time",
                   "leave the cells empty where the time is not known")  # fmt: skip
    else:
        facts.note("times", f"{text} (follow-up ended on one day, or was cut there)", "most frequent time")


def compare_death_days(frame: pd.DataFrame, facts: Facts) -> None:
    """Warn where times of the dead are not those of the column of days to death."""
    if not {"death_days", "time_days", "event"} <= set(frame.columns):
        return
    dead = (frame["event"] == 1) & frame["time_days"].notna() & frame["death_days"].notna()
    if int(dead.sum()) < 3:
        return
    time, death = frame.loc[dead, "time_days"], frame.loc[dead, "death_days"]
    differ = (time - death).abs() > np.maximum(AGREE * death.abs(), ROUNDED)
    if differ.mean() > 0.1:
        facts.warn(
            "times of the dead", f"{int(differ.sum())} of {int(dead.sum())} differ from the days to death (median "
            f"ratio {float((time / death.where(death != 0)).median()):.3g}); the time column counts",
            "time against days to death", "correct the column or its unit, or name the right one in `clinical.time`",
        )  # fmt: skip


_ANATOMY = re.compile(
    r"(?:^|[^a-z])(?:left|right|breast|lung|colon|rectum|stomach|liver|kidney|brain|skin|ovary|uterus|prostate|bladder|"
    r"pancreas|quadrant|lobe|upper|lower|cervix|thyroid|bone|blood|C\d\d\.\d)(?:[^a-z]|$)",
    re.IGNORECASE,
)


def say_sites(site: pd.Series, column: str, facts: Facts) -> None:
    """Warn of a site column that holds places of the body, or nearly as many sites as patients."""
    known = site.dropna().astype(str)
    if len(known) < 5:
        return
    body = known.str.contains(_ANATOMY)
    if body.mean() > 0.5:
        facts.warn("site", f"column {column} holds places of the body ({known[body].iloc[0]}), not hospitals",
                   "content of the column", "name the column of hospitals in `clinical.site`")  # fmt: skip
    elif len(known) >= 20 and known.nunique() > 0.7 * len(known):
        facts.warn("site", f"column {column} holds {known.nunique()} values in {len(known)} rows: these are no sites",
                   "content of the column", "name the column of hospitals in `clinical.site`")  # fmt: skip


def say_labels(label: pd.Series, facts: Facts) -> None:
    """Warn of labels that differ by case only, and of a label column that holds no classes."""
    counts = label.dropna().astype(str).value_counts()
    written: dict[str, list[str]] = {}
    for name in map(str, counts.index):
        written.setdefault(" ".join(name.lower().split()), []).append(name)
    alike = [names for names in written.values() if len(names) > 1]
    if alike:
        facts.warn(
            "labels", "; ".join(" / ".join(names) for names in alike[:5]) + ": read as different classes",
            "labels that differ by case or blanks only", "write each class one way, or merge them by `label_map`",
        )  # fmt: skip
    mixed = [name for name in map(str, counts.index) if of_two_alphabets(name)]
    if mixed:
        facts.warn(
            "labels", f"{', '.join(map(ascii, mixed[:5]))}: letters of two alphabets in one word, read as classes of "
            "their own", "letters that look alike and are not", "type these labels anew, or merge them by `label_map`",
        )  # fmt: skip
    if len(counts) > MANY_CLASSES and len(counts) > 0.5 * counts.sum():
        facts.warn(
            "labels", f"{len(counts)} different values of {int(counts.sum())} rows: these are no classes",
            "label column", "name the column of subtypes in `clinical.label`",
        )  # fmt: skip


def compare_times(raw: pd.DataFrame, days: pd.Series, used: Mapping[str, object], endpoint: str, facts: Facts) -> None:
    """Compare the times that were read with other columns of the same endpoint, each in the unit of its name.

    Parameters
    ----------
    raw : DataFrame
        Every cell as text.
    days : Series of float
        Times as read, by row of ``raw``.
    used : mapping
        Role to column; ``time`` is the column that was read.
    endpoint : str
        Of ``days``.
    facts : Facts
        Gets the disagreements.
    """
    names = {name.lower() for name in TIME}
    taken = str(used.get("time"))
    for column in map(str, raw.columns):
        unit, of = unit_of_name(column), endpoint_of_name(column)
        if column == taken or unit is None or of not in (None, endpoint):
            continue
        if column.lower() not in names and not (of == endpoint and "time" not in used):
            continue
        try:
            other = numbers_of(blank(raw[column])).reindex(days.index) * DAYS[unit]
        except InputError:
            continue
        both = days.notna() & other.notna() & (days > 0)
        if int(both.sum()) < 3:
            continue
        gap = (other[both] - days[both]).abs()
        differ = gap > np.maximum(AGREE * days[both], ROUNDED)
        if differ.mean() > 0.1:
            ratio = float((other[both] / days[both]).median())
            facts.warn(
                "time columns", f"{column} differs from {taken} in {int(differ.sum())} of {int(both.sum())} rows "
                f"(median ratio in days {ratio:.3g}); {taken} is read", "times of one endpoint in two units",
                "correct the unit or the column, or name the right one in `clinical.time`",
            )  # fmt: skip
