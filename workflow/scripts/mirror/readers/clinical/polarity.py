"""What the numbers of a vital status mean, told by the columns that only the dead fill."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np
import pandas as pd

from ...core.errors import InputError
from ...core.facts import Facts
from .base import blank, looks_like_event
from .vital import is_dead

_RECORD = re.compile(
    r"death|died|deceas|(^|[^a-z])dod([^a-z]|$)|todes|sterbe|d[eé]c[eéè]s|fallec|muerte|decesso|overlij", re.I
)
_VAGUE = re.compile(r"vital|survival.?status", re.I)
_NOT_DEAD = ("alive", "living", "no", "not dead", "0")
LEAST = 5
"""Patients with and without a record of death from which most contradicting it are a reversed polarity."""


def vital_by_dates(vital: pd.Series, death: pd.Series, column: str, facts: Facts) -> pd.Series:
    """Return 1.0 dead, 0.0 alive, NaN unknown; numbers are told by the date of death.

    Parameters
    ----------
    vital : Series of str
        Vital status in words, or as two numbers.
    death : Series of float
        Days to death by row, NaN where there are none.
    column : str
        Name of the vital status.
    facts : Facts
        Gets which number means dead.

    Raises
    ------
    InputError
        Numbers of which neither, or both, go with dates of death.
    """
    dead = is_dead(vital)
    number = pd.to_numeric(blank(vital), errors="coerce").astype(float)
    codes = sorted(number.dropna().unique())
    if dead.notna().any() or not codes:
        return dead
    dated = {code: float(death[number == code].notna().mean()) for code in codes}
    means = [code for code in codes if dated[code] >= 0.5]
    if len(codes) != 2 or len(means) != 1:
        shown = ", ".join(f"{code:g} ({share:.0%} with a date of death)" for code, share in dated.items())
        facts.refuse(
            "vital status", f"column {column} holds the numbers {shown}: which means dead is not known",
            "vital status against dates of death", "write Alive and Dead",
        )  # fmt: skip
    facts.note(f"{means[0]:g} in {column}", "dead", "dates of death")
    return (number == means[0]).astype(float).where(number.notna())


def check_deaths(
    raw: pd.DataFrame, ids: pd.Series, event: pd.Series, column: str, used: Collection[str], stated: bool, facts: Facts
) -> None:
    """Compare events of overall survival with columns that only the dead fill, such as a date or cause of death.

    Parameters
    ----------
    raw : DataFrame
        Every cell as text.
    ids : Series of str
        Patient of each row of ``raw``.
    event : Series of float
        Event by patient (index); 1 is read as dead.
    column : str
        Name of the event column.
    used : collection of str
        Columns that time and event were read from.
    stated : bool
        Whether the polarity is stated by ``clinical.event_is`` or by the column's name.
    facts : Facts
        Gets contradictions; without any column to compare with, what was assumed.

    Raises
    ------
    InputError
        Most patients with a record of death have no event, and most without have one.
    """
    compared = False
    for name in map(str, raw.columns):
        if name in used or not _RECORD.search(name):
            continue
        cells = blank(raw[name], ())
        cells = cells.mask(cells.astype("string").str.lower().isin(_NOT_DEAD).fillna(False))
        if looks_like_event(cells.dropna()) or not cells.notna().any():
            continue
        recorded = cells.notna().groupby(ids.reindex(raw.index).to_numpy()).max().reindex(event.index)
        known = event.notna() & recorded.notna()
        has, lacks = known & recorded.eq(True), known & recorded.eq(False)
        if min(has.sum(), lacks.sum()) < 3:
            continue
        compared = True
        against, without = has & (event == 0), lacks & (event == 1)
        if min(has.sum(), lacks.sum()) >= LEAST and against.sum() > has.sum() / 2 and without.sum() > lacks.sum() / 2:
            raise InputError(
                f"{against.sum()} of {has.sum()} patients with a value in {name!r} have no event in {column!r}, and "
                f"{without.sum()} of {lacks.sum()} without one have it: polarity is reversed (1 seems to mean alive)",
                file=facts.about,
                remedy="correct `clinical.event_is`",
            )
        if against.any():
            facts.warn(
                "vital facts", f"{against.sum()} of {has.sum()} patients with a value in {name} have no event; the "
                "event column counts", f"{name} against {column}", "correct the table", examples=event.index[against],
            )  # fmt: skip
        else:
            facts.note("events agree with", f"{name}: {int(has.sum())} patients", "columns that only the dead fill")
    if not compared and not stated and _VAGUE.search(column) and _numeric(raw, column):
        facts.warn(
            "1 in the event column", f"column {column} holds 0 and 1, and nothing in the table tells which means dead; "
            "1 is read as dead", "assumed from the column's name", "set `clinical.event_is` to 1_event or 1_censored",
        )  # fmt: skip


def _numeric(raw: pd.DataFrame, column: str) -> bool:
    if column not in raw:
        return False
    return bool(np.isfinite(pd.to_numeric(blank(raw[column]).dropna(), errors="coerce").astype(float)).all())
