"""Vital facts: do they contradict each other, and is follow-up lost for one outcome only?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from ...core.errors import InputError
from ...core.facts import Facts
from .base import blank, decoded

Rule = Literal["rule", "missing", "error"]
_DEAD = {"dead", "deceased", "died", "death", "expired", "tot", "verstorben", "gestorben", "décédé", "décédée", "mort",
         "muerto", "muerta", "fallecido", "fallecida", "deceduto", "deceduta", "overleden"}  # fmt: skip
_ALIVE = {"alive", "living", "survived", "lebend", "lebt", "vivant", "vivante", "vivo", "viva", "vivente", "in leven"}

ALIVE_WITH_DEATH = "alive with a date of death"
DEAD_WITHOUT_DATE = "dead without a date of death"
SEEN_AFTER_DEATH = "last seen after the date of death"
EVENT_AGAINST_VITAL = "event against the vital status"
RULES = {
    ALIVE_WITH_DEATH: "no follow-up",
    ALIVE_WITH_DEATH + ", time and event in columns of their own": "the event column counts",
    DEAD_WITHOUT_DATE: "no follow-up",
    SEEN_AFTER_DEATH: "the date of death counts",
    EVENT_AGAINST_VITAL: "the event column counts",
    "a row without the event is later than a row with it": "the latest row counts",
    "an event without a time, beside a dated row without it": "no follow-up",
}
"""What is done with each kind of contradiction under ``clinical.contradictions: rule``."""


def is_dead(vital: pd.Series) -> pd.Series:
    """Return 1.0 dead, 0.0 alive, NaN unknown; codes such as ``1:DECEASED`` are read by their words."""
    text = blank(vital).astype("string").str.lower().map(lambda cell: decoded(cell)[0], na_action="ignore")
    dead = pd.Series(np.nan, index=vital.index)
    return dead.mask(text.isin(_DEAD).fillna(False), 1.0).mask(text.isin(_ALIVE).fillna(False), 0.0)


def find_contradictions(
    ids: pd.Series, frame: pd.DataFrame, events: pd.Series | None, endpoint: str, derived: bool = False
) -> dict[str, list[str]]:
    """Return the patients of each kind of contradiction.

    Parameters
    ----------
    ids : Series of str
        Patient of each row of ``frame``.
    frame : DataFrame
        Any of ``vital`` (text), ``death_days`` and ``last_days`` (float, days).
    events : Series of float or None
        Event by patient (index), to be compared with the vital status.
    endpoint : str
        OS is compared in both directions; for DSS a patient with the event is dead.
    derived : bool
        Whether time and event were made of these facts; a time of its own may be known without a date of death.
    """
    out: dict[str, list[str]] = {}
    if "vital" not in frame:
        return out
    dead = is_dead(frame["vital"]).groupby(ids.to_numpy()).max()
    death = _latest(frame, "death_days", ids)
    last = _latest(frame, "last_days", ids)
    if death is not None:
        kind = ALIVE_WITH_DEATH if derived else f"{ALIVE_WITH_DEATH}, time and event in columns of their own"
        out[kind] = list(dead.index[(dead == 0) & death.notna()])
        if derived:
            out[DEAD_WITHOUT_DATE] = list(dead.index[(dead == 1) & death.isna()])
        if last is not None:
            out[SEEN_AFTER_DEATH] = list(dead.index[(dead == 1) & (last > death)])
    if events is not None and endpoint in ("OS", "DSS"):
        event = events.reindex(dead.index)
        against = (event == 1) & (dead == 0)
        if endpoint == "OS":
            against |= (event == 0) & (dead == 1)
        out[EVENT_AGAINST_VITAL] = list(dead.index[against])
    return {kind: names for kind, names in out.items() if names}


def _latest(frame: pd.DataFrame, column: str, ids: pd.Series) -> pd.Series | None:
    return frame[column].groupby(ids.to_numpy()).max() if column in frame else None


def settle(df: pd.DataFrame, found: Mapping[str, list[str]], rule: Rule, facts: Facts) -> pd.DataFrame:
    """Apply the rule to contradicting vital facts: count them, and remove the follow-up where the rule says so.

    Parameters
    ----------
    df : DataFrame
        One row per patient: patient_id, time_days, event.
    found : mapping
        Kind of contradiction to its patients.
    rule : {"rule", "missing", "error"}
        ``clinical.contradictions``.

    Returns
    -------
    DataFrame
        A copy; ``time_days`` is missing for patients whose follow-up is not believed.

    Raises
    ------
    InputError
        Under ``error``.
    """
    df = df.copy()
    for kind, names in found.items():
        what = RULES[kind] if rule == "rule" else "no follow-up"
        if rule == "error":
            facts.refuse(
                "vital facts",
                f"{len(names)} patients: {kind}",
                "clinical.contradictions: error",
                "correct the table, or set `clinical.contradictions`",
                examples=names,
            )
        facts.warn(
            "vital facts",
            f"{len(names)} patients: {kind}; {what}",
            f"clinical.contradictions: {rule}",
            "correct the table, or set `clinical.contradictions` to missing or error",
            examples=names,
        )
        if what == "no follow-up":
            df.loc[df["patient_id"].isin(names), "time_days"] = np.nan
    return df


def lost_follow_up(event: pd.Series, time: pd.Series) -> dict[str, int]:
    """Count patients of each outcome and how many of them have no follow-up time."""
    out = {}
    for name, value in (("living", 0.0), ("dead", 1.0)):
        of = event == value
        out[name] = int(of.sum())
        out[f"{name}_lost"] = int((of & time.isna()).sum())
    out["unknown"] = int(event.isna().sum())
    return out


def lost_text(lost: Mapping[str, int], endpoint: str) -> str:
    """``36 of 45 living and 0 of 15 dead without a time``, in the endpoint's words."""
    free, happened = ("living", "dead") if endpoint == "OS" else ("patients without the event", "with it")
    return (f"{lost['living_lost']} of {lost['living']} {free} and {lost['dead_lost']} of {lost['dead']} {happened} "
            "without a time")  # fmt: skip


def check_lost(lost: Mapping[str, int], endpoint: str, facts: Facts, beside: list[str]) -> bool:
    """Warn where follow-up is lost for one outcome more than for the other; return whether it is.

    The shares that are lost differ by 10 % or more, and by more than chance (Fisher's exact test, p < 0.01) or by
    30 % with three patients or more.
    """
    n = (lost["living"], lost["dead"])
    gone = (lost["living_lost"], lost["dead_lost"])
    if not all(n) or not any(gone):
        return False
    shares = [g / k for g, k in zip(gone, n, strict=True)]
    gap = abs(shares[0] - shares[1])
    if gap < 0.1:
        return False
    from scipy.stats import fisher_exact

    p = float(fisher_exact([[gone[0], n[0] - gone[0]], [gone[1], n[1] - gone[1]]])[1])
    if not (p < 0.01 or (gap >= 0.3 and max(gone) >= 3)):
        return False
    files = f" (beside it: {', '.join(beside)})" if beside else ""
    facts.warn(
        "follow-up lost for one outcome",
        f"{lost_text(lost, endpoint)}: survival analysis of the others is biased",
        "time against event",
        f"give the table that holds the other dates in `clinical.also`{files}, or correct the table",
    )
    return True


def agreement(event: pd.Series, ids: pd.Series, vital: pd.Series) -> tuple[float | None, int]:
    """Return (share of patients whose vital status agrees with the event, how many could be compared).

    ``event`` is indexed by patient; ``ids`` and ``vital`` are rows of the table.
    """
    dead = is_dead(vital).groupby(ids.to_numpy()).max().reindex(event.index)
    ok = dead.notna() & event.notna()
    return (float((dead[ok] == event[ok]).mean()) if ok.any() else None), int(ok.sum())


def check_agreement(share: float | None, compared: int, file: str) -> None:
    """Raise where most events contradict the vital status."""
    if share is not None and compared >= 5 and share < 0.5:
        raise InputError(
            f"events contradict the vital status of {1 - share:.0%} of {compared} patients: polarity is reversed",
            file=file,
            remedy="correct `clinical.event_is`",
        )
