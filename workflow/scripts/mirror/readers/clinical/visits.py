"""One row per patient: second rows are recognised, and time and event come from one row, the latest visit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ...core.barcodes import patient_id
from ...core.facts import Facts
from ...core.patient_keys import patient_key
from .columns import without_suffix

OUTCOME = ("time_days", "event")


def canonical_ids(
    raw: pd.Series, patients: Iterable[str] | None, facts: Facts, constant: pd.DataFrame | None = None
) -> pd.Series:
    """Bring identifiers to the form in which slides, expression and clinical table meet.

    TCGA barcodes are cut to the patient. Of other identifiers a number behind a separator (``P12_1``, ``P12-2``)
    marks a further row of ``P12`` where ``P12`` itself is in the table or in the slide table and the longer name is
    not in the slide table; and where all identifiers come in such groups whose rows agree in what does not change
    (``constant``). Where a slide table is given, its spelling is taken (``p.12`` becomes ``P-12``).

    Parameters
    ----------
    raw : Series of str
        Identifiers as written.
    patients : iterable of str or None
        The slide table's patients.
    facts : Facts
        Takes the counts.
    constant : DataFrame, optional
        Columns that do not change from visit to visit: label, sex.

    Returns
    -------
    Series of str
    """
    ids = pd.Series([patient_id(str(value)) for value in raw], index=raw.index, dtype=object)
    known: set[str] = {patient_id(p) for p in patients} if patients is not None else set()
    present = set(ids)
    second: dict[str, str] = {}
    for name in sorted(present - known):
        base = without_suffix(name)
        if base != name and (base in known or (base in present and not known)):
            second[name] = base
    if not second and not known:
        second = _groups(ids, constant, facts)
    if second:
        facts.warn("second rows", f"{len(second)} identifiers with a number behind are further rows of a patient",
                   "identifiers", "rename them if they are patients of their own",
                   examples=(f"{k} -> {v}" for k, v in second.items()))  # fmt: skip
        ids = ids.replace(second)
    if known:
        spelt: dict[str, str | None] = {}
        for name in known:
            key = patient_key(name)
            spelt[key] = None if key in spelt else name
        keys: dict[str, set[str]] = {}
        for name in set(ids):
            keys.setdefault(patient_key(name), set()).add(name)
        respelt = {}
        for key, names in keys.items():
            target = spelt.get(key)
            if target is not None and len(names) == 1 and not names <= known:
                respelt[next(iter(names))] = target
        if respelt:
            facts.note("spelling of patients", f"{len(respelt)} as in the slide table", "slide table",
                       examples=(f"{k} -> {v}" for k, v in respelt.items()))  # fmt: skip
            ids = ids.replace(respelt)
    return ids


def _groups(ids: pd.Series, constant: pd.DataFrame | None, facts: Facts) -> dict[str, str]:
    """Identifiers that all come as ``X_1, X_2``: rows of X where label or sex never differ within X, else patients."""
    bases = ids.map(without_suffix)
    sizes = bases[~ids.duplicated()].value_counts()
    if (bases == ids).any() or len(sizes) < 3 or sizes.median() < 2 or sizes.max() > 6 or sizes.min() < 2:
        return {}
    for _, column in constant.items() if constant is not None else ():
        text = column.astype("string").str.strip()
        by_chance = float((text.value_counts(normalize=True) ** 2).sum() ** len(sizes))
        if text.nunique() > 1 and by_chance < 0.01 and (text.groupby(bases).nunique() <= 1).all():
            return dict(zip(ids, bases, strict=True))
    facts.warn("identifiers", "all come in groups that differ by a number at the end; each is read as a patient of its "
               "own", "identifiers", "give all rows of a patient one identifier",
               examples=ids.drop_duplicates())  # fmt: skip
    return {}


def one_row_a_patient(df: pd.DataFrame, endpoint: str, facts: Facts) -> tuple[pd.DataFrame, dict[str, Any], pd.Series]:
    """Join a patient's rows.

    Time and event come from one row: the latest among those in which both are known. Of every other column the
    first value that is not missing counts, and rows that disagree are counted.

    Parameters
    ----------
    df : DataFrame
        ``patient_id``, ``time_days``, ``event`` and other columns, rows as in the file.
    endpoint : str
        For endpoints other than OS an event stands although a later row has none: progression is not undone by a
        later visit. For OS the latest row counts, and the contradiction is counted.
    facts : Facts
        Takes the counts.

    Returns
    -------
    df : DataFrame
        One row per patient, in order of appearance.
    report : dict
        Counts for the step's report.
    odd : Series of bool, index patient_id
        Patients whose rows contradict each other: an event in an earlier row than the latest, or an event without
        a time beside a dated row without the event.
    """
    groups = df.groupby("patient_id", sort=False)
    others = [c for c in df.columns if c not in ("patient_id", *OUTCOME)]
    different = groups[others].nunique(dropna=True) > 1 if others else pd.DataFrame(index=groups.size().index)
    sizes = groups.size()
    joined = groups.first()
    several = sizes > 1

    known = df["time_days"].notna() & df["event"].notna()
    order = df[["patient_id", *OUTCOME]].assign(
        known=known, t=df["time_days"].fillna(-np.inf), e=df["event"].fillna(-1.0)
    )
    order = order.sort_values(["known", "t", "e"], kind="stable")
    if endpoint != "OS":
        order = order.assign(first=known & (order["event"] == 1)).sort_values(["known", "first", "t"], kind="stable")
    latest = order.drop_duplicates("patient_id", keep="last").set_index("patient_id").reindex(joined.index)
    any_event = groups["event"].max()
    complete = latest["known"].astype(bool)
    # A time without any event status stays, so that its loss is counted; never a time with another row's event.
    joined["time_days"] = latest["time_days"].where(complete, groups["time_days"].max().where(any_event.isna()))
    joined["event"] = latest["event"].where(complete, any_event)

    dated_event = df["time_days"].where(df["event"] == 1).groupby(df["patient_id"]).max().reindex(joined.index)
    dated_free = df["time_days"].where(df["event"] == 0).groupby(df["patient_id"]).max().reindex(joined.index)
    undone = dated_event.notna() & (dated_free > dated_event)
    undated = (any_event == 1) & dated_event.isna() & dated_free.notna()
    times = groups["time_days"].nunique()
    if int((times > 1).sum()):
        facts.note("several visits", f"{int((times > 1).sum())} patients; time and event are those of the latest row "
                   "in which both are known", "rows of a patient")  # fmt: skip
    report = {
        "patients_with_several_rows": int(several.sum()),
        "patients_with_several_times": int((times > 1).sum()),
        "patients_with_conflicts": int(different.any(axis=1).sum()),
        "conflicts": {str(name): int(n) for name, n in different.sum().items() if n},
        "examples": [str(name) for name in different.index[different.any(axis=1)][:10]],
    }
    odd = pd.Series("", index=joined.index, dtype=object)
    if endpoint == "OS":
        odd = odd.mask(undone, "a row without the event is later than a row with it")
    elif undone.any():
        facts.warn("several visits", f"{int(undone.sum())} patients have a row without the event later than a row with "
                   "it; the event counts, at its date", f"endpoint {endpoint}")  # fmt: skip
    odd = odd.mask(undated & (odd == ""), "an event without a time, beside a dated row without it")
    return joined.reset_index()[df.columns], report, odd
