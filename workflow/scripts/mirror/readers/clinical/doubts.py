"""What looks wrong in a clinical table and cannot be decided by it: said, never corrected."""

from __future__ import annotations

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
