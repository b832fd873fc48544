"""Several clinical tables of one cohort: follow-up, exposure and treatment beside the main table."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from ...config.sources import ClinicalSource
from ...core.facts import Facts
from . import columns as usual
from .base import to_number
from .columns import find, patient_column
from .layout import read_raw
from .visits import canonical_ids


class Joined(NamedTuple):
    """The main table with the rows of the others below.

    Attributes
    ----------
    frame : DataFrame
        Every cell as text, empty where a table lacks the column.
    later : Series of float
        Days to the last contact in rows of the other tables, by row of ``frame``; empty where there is none.
    """

    frame: pd.DataFrame
    later: pd.Series


def join_tables(raw: pd.DataFrame, patient: str, source: ClinicalSource, facts: Facts) -> Joined:
    """Put the rows of ``clinical.also`` below those of the main table, on the patient.

    Patients that the main table lacks are left out. A column that both have is filled in where the main table has
    no value; time and event are decided by the latest row, as for several rows of one table.

    Parameters
    ----------
    raw : DataFrame
        The main table, identifiers in canonical form.
    patient : str
        Its patients' column.
    source : ClinicalSource
        ``also`` lists the other tables.
    facts : Facts
        Takes what was joined.
    """
    later = pd.Series(dtype=float)
    known = set(raw[patient])
    for path in source.also:
        own = Facts(path)
        table, _ = read_raw(path, own)
        stated = source.patient if source.patient in table.columns else None
        column = patient_column(table, stated, known, own, whose="the main clinical table")
        ids = canonical_ids(table[column], known, own)
        table = table.drop(columns=[patient] if patient in table.columns and patient != column else [])
        table = table.rename(columns={column: patient}).assign(**{patient: ids})
        here = table[patient].isin(known)
        table = table[here].reset_index(drop=True)
        new = [c for c in table.columns if c not in raw.columns]
        shared = [c for c in table.columns if c in raw.columns and c != patient]
        facts.extend(own, prefix=f"{path}: ")
        facts.note(
            "joined table",
            f"{path}: {len(table)} rows of {table[patient].nunique()} patients; {int((~here).sum())} rows of others "
            f"left out; new columns {', '.join(new[:8]) or 'none'}; shared columns {', '.join(shared[:8]) or 'none'}",
            "clinical.also",
        )
        start = len(raw)
        raw = pd.concat([raw.reset_index(drop=True), table], ignore_index=True).fillna("")
        seen = find(table.columns, usual.LAST)
        if seen is not None:
            days = to_number(table[seen], seen, path)
            days.index = pd.RangeIndex(start, start + len(table))
            later = days if later.empty else pd.concat([later, days])
    return Joined(raw, later)
