"""Cells of clinical tables: missing values, events, times, sexes, stages."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import InputError

MISSING = {
    "", "na", "n/a", "#n/a", "nan", "none", "null", "--", "'--", "-", ".", "unknown", "not reported", "not available",
    "[not available]", "[not applicable]", "[not evaluated]", "[unknown]", "[discrepancy]", "[completed]",
    "not applicable", "<na>", "[pending]", "not allowed to collect",
}  # fmt: skip
"""Cells that mean a missing value (compared in lower case)."""

DAYS_A_MONTH = 365.25 / 12
"""Days in a month where a format does not say otherwise: 30.4375."""
DAYS = {"days": 1.0, "months": DAYS_A_MONTH, "years": 365.25}

_EVENTS = {
    "deceased": 1, "dead": 1, "died": 1, "death": 1, "event": 1, "recurred": 1, "progressed": 1,
    "recurred/progressed": 1, "progression": 1, "recurrence": 1, "relapse": 1, "dead with tumor": 1,
    "living": 0, "alive": 0, "censored": 0, "diseasefree": 0, "disease free": 0, "lost": 0,
    "progression free": 0, "progressionfree": 0, "alive or dead tumor free": 0, "survived": 0, "alive with disease": 0,
    "expired": 1, "passed away": 1, "dead of disease": 1, "died of disease": 1, "dead of other causes": 1,
    "dead of other cause": 1, "no evidence of disease": 0, "alive without disease": 0,
    # German, French, Spanish, Italian, Dutch
    "tot": 1, "verstorben": 1, "gestorben": 1, "lebend": 0, "lebt": 0, "am leben": 0,
    "décédé": 1, "décédée": 1, "decede": 1, "mort": 1, "vivant": 0, "vivante": 0, "en vie": 0,
    "muerto": 1, "muerta": 1, "fallecido": 1, "fallecida": 1, "vivo": 0, "viva": 0,
    "deceduto": 1, "deceduta": 1, "morto": 1, "vivente": 0, "overleden": 1, "in leven": 0,
}  # fmt: skip
ANSWERS = dict.fromkeys(("yes", "true", "ja", "oui", "sí", "si"), 1.0)
ANSWERS |= dict.fromkeys(("no", "false", "nein", "non", "nee"), 0.0)
"""Words that answer the question of the column's name, as 1 and 0 do: ``alive: yes``, ``dead: no``."""
CODED = re.compile(r"^(?:(?P<code>[01])\s*:\s*(?P<word>\D.*)|(?P<name>[^\d:].*?)\s*[:=]\s*(?P<number>[01]))$")
"""A status with its code before it (``1:DECEASED``) or behind it (``Deceased:1``)."""


@dataclass
class Parsed:
    """What a format's reader hands back before the shared steps.

    Attributes
    ----------
    frame : pandas.DataFrame
        Text columns patient_id, label, time, event, site, age, sex, stage and covariates; may have several rows
        a patient; missing as NaN. ``time`` and ``event`` are as in the file.
    days_a_unit : float
        Factor from the file's time to days.
    one_means : {"event", "censored"}
        Polarity of 0/1 events.
    facts : dict
        The columns used and how; goes to the report.

    Notes
    -----
    ``frame`` may also have ``vital`` (Alive or Dead), and in days ``death_days`` and ``last_days``: the vital facts
    that are checked against each other.
    """

    frame: pd.DataFrame
    days_a_unit: float
    one_means: str
    facts: dict[str, Any] = field(default_factory=dict)


def blank(column: pd.Series, keep: Collection[str] = ()) -> pd.Series:
    """Return text with every kind of missing mark as NaN, but for the marks in ``keep`` (lower case)."""
    text = column.astype("string").str.strip()
    return text.mask(text.str.lower().isin(MISSING - set(keep))).astype(object).where(lambda s: s.notna(), np.nan)


DECIMAL_COMMA = r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?"
_UNITS = {
    "days": "days?|tage?n?|jours?|d[ií]as?|giorni|dagen",
    "months": "months?|mos?|monate?n?|mois|mes(?:es)?|mesi|maanden",
    "years": "years?|yrs?|jahre?n?|ans|ann[ée]es?|años?|anni|jaren",
}  # in the languages of tables that were seen
_POINTED = r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+"
_THOUSANDS = r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"


def numbers_of(text: pd.Series, name: str = "", file: str = "", decimal: str | None = None) -> pd.Series:
    """Return float64 of cells with decimal points, decimal commas or thousands separators; NaN for any other text.

    Parameters
    ----------
    text : Series
        Text, missing as NaN.
    name, file : str
        For the error.
    decimal : {",", None}
        What the file's layout says of the comma (a file whose delimiter is a semicolon has decimal commas).

    Raises
    ------
    InputError
        Where every comma stands before three digits and nothing tells ``1,234`` for 1.234 or 1234.
    """
    string = text.astype("string")
    _refuse_pointed_thousands(string, name, file)
    comma = string.str.contains(",", regex=False).fillna(False)
    if comma.any():
        cells, others = string[comma], pd.to_numeric(string[~comma], errors="coerce").astype(float)
        decimals = cells.str.fullmatch(DECIMAL_COMMA).all()
        thousands = cells.str.fullmatch(_THOUSANDS).all()
        pointed = string[~comma].str.contains(r"\d\.\d", regex=True).fillna(False).any()
        if decimals and thousands and decimal != ",":
            if (others.abs() >= 1000).any() and not pointed:
                thousands = False
            elif pointed:
                decimals = False
            else:
                raise InputError(
                    f"column {name!r}: {cells.iloc[0]!r} may be read as {cells.iloc[0].replace(',', '.')} or as "
                    f"{cells.iloc[0].replace(',', '')}",
                    file=file or None,
                    remedy="write decimal points, and no separator of thousands",
                )
        if decimals and not pointed:
            string = string.str.replace(",", ".", regex=False)
        elif thousands and not decimals:
            string = string.str.replace(",", "", regex=False)
    return pd.to_numeric(string, errors="coerce").astype(float)


def _refuse_pointed_thousands(string: pd.Series, name: str, file: str) -> None:
    """Refuse a column in which every point stands before three digits and cells below 1000 have none: 2.566, 992."""
    pointed = string.str.contains(".", regex=False).fillna(False)
    plain = string[~pointed & string.notna()]
    if int(pointed.sum()) < 3 or not string[pointed].str.fullmatch(_POINTED).all():
        return
    several = string[pointed].str.count(r"\.").gt(1).any()
    below = pd.to_numeric(plain, errors="coerce").dropna()
    if several or (len(below) and ((below % 1) == 0).all() and below.abs().max() < 1000):
        cell = string[pointed].iloc[0]
        raise InputError(
            f"column {name!r}: {cell!r} may be read as {cell} or as {cell.replace('.', '')}",
            file=file or None,
            remedy="write decimal points, and no separator of thousands",
        )


def to_number(column: pd.Series, name: str, file: str) -> pd.Series:
    """Return float64 with missing marks as NaN; any other text is an `InputError` with its row."""
    text = blank(column)
    number = numbers_of(text, name, file)
    bad = text.notna() & ~np.isfinite(number.astype(float))
    if bad.any():
        at = bad.to_numpy().argmax()
        raise InputError(
            f"column {name!r}: {text.iloc[at]!r} is not a number",
            file=file,
            row=f"data row {at + 1}",
            remedy="correct it",
        )
    return number.astype(float)


def looks_like_event(cells: pd.Series) -> bool:
    """Whether non-missing cells are 0 and 1 (or 1 and 2), or words of an event."""
    text = cells.astype("string").str.lower().str.strip()
    number = pd.to_numeric(text, errors="coerce").astype(float)
    if number.notna().all():
        return set(number.unique()) <= {0.0, 1.0} or set(number.unique()) == {1.0, 2.0}
    words = text.map(lambda cell: decoded(cell)[0])
    return bool((words.isin([*_EVENTS, *ANSWERS]) | number.isin([0.0, 1.0])).mean() > 0.9)


def decoded(cell: str) -> tuple[str, float | None]:
    """Split a status in lower case into its word and its code: ``1:deceased`` and ``deceased:1`` alike."""
    found = CODED.match(cell)
    if found is None:
        return cell, None
    return found["word"] or found["name"], float(found["code"] or found["number"])


def uncapped(ages: pd.Series) -> pd.Series:
    """Return ages with the mark of a privacy cap taken off: ``>89``, ``90+``, ``>= 90 years`` become numbers."""
    return ages.astype("string").str.replace(r"^\s*(?:[>\u2265]=?\s*)?(\d+)\s*\+?(?:\s*years?)?\s*$", r"\1", regex=True)


def to_event(column: pd.Series, one_means: str, name: str, file: str) -> pd.Series:
    """Return float64 with 1 = the event happened, 0 = censored, NaN = missing.

    Words (``Dead``, ``1:DECEASED``, ``0:LIVING``) speak for themselves; numbers follow ``one_means``, and so do yes and
    no, which answer what the column's name asks.

    Raises
    ------
    InputError
        For a value that is neither; for 1/2 coding, whose meaning differs between programs.
    """
    text = blank(column).astype("string").str.lower()
    parts = [decoded(cell) if isinstance(cell, str) else (None, None) for cell in text]
    words = pd.Series([word for word, _ in parts], index=text.index, dtype=object)
    code = pd.Series([code for _, code in parts], index=text.index, dtype=float)
    event = words.map(_EVENTS).astype(float)
    number = numbers_of(text, name, file)
    number = number.where(number.notna(), words.map(ANSWERS).astype(float))
    seen = set(number.dropna().unique())
    if seen and not seen <= {0.0, 1.0}:
        what = "1 and 2 (R's coding)" if seen <= {1.0, 2.0} else ", ".join(f"{v:g}" for v in sorted(seen)[:5])
        raise InputError(
            f"column {name!r} holds {what}; events must be 0 and 1, or words such as Alive and Dead",
            file=file,
            remedy="recode the column",
        )
    numeric = number if one_means == "event" else 1.0 - number
    event = event.where(number.isna(), numeric)
    # "1:SOMETHING" with words we do not know: the number in front decides, 1 = it happened (cBioPortal).
    event = event.where(event.notna() | code.isna(), code)
    bad = text.notna() & event.isna()
    if bad.any():
        at = int(bad.to_numpy().argmax())
        raise InputError(
            f"column {name!r}: {column.iloc[at]!r} is no event status",
            file=file,
            row=f"data row {at + 1}",
            remedy="use 0 and 1, or Alive and Dead",
        )
    return event


def to_sex(column: pd.Series) -> pd.Series:
    """Return ``female`` / ``male``, NaN where missing or anything else."""
    text = blank(column).astype("string").str.lower()
    female = ("female", "f", "woman", "weiblich", "w", "femme")
    male = ("male", "m", "man", "männlich", "maennlich", "homme")
    return text.map(dict.fromkeys(female, "female") | dict.fromkeys(male, "male"))


def to_stage(column: pd.Series) -> pd.Series:
    """Return ``0``, ``I``, ``II``, ``III`` or ``IV`` of any AJCC or FIGO spelling; NaN where there is none.

    Sub-stages (``Stage IIA``) are merged: the clinical baseline has too few patients for them.
    """
    found = (
        blank(column).astype("string").str.upper().str.extract(r"^(?:STAGE\s*)?(0|IV|I{1,3}|[1-4])(?:S?[A-D]?\d?)$")[0]
    )
    return found.replace({"1": "I", "2": "II", "3": "III", "4": "IV"}).astype(object).where(found.notna(), np.nan)


def unit_of_name(name: str) -> str | None:
    """Return the time unit that a column's name states, or None."""
    low = name.lower()
    for unit, words in _UNITS.items():
        if re.search(rf"(^|[^a-zäöüéèñß])({words})([^a-zäöüéèñß]|$)", low):
            return unit
    return None
