"""What all kinds of target share."""

from __future__ import annotations

import numpy as np
import pandas as pd


def usable(patients: pd.DataFrame, task: str) -> pd.DataFrame:
    """The patients a task can use: a label, or a positive follow-up time and a known event."""
    if task == "subtyping":
        return patients[patients["label"].notna() & (patients["label"].astype(str) != "")]
    time = pd.to_numeric(patients["time_days"], errors="coerce")
    event = pd.to_numeric(patients["event"], errors="coerce")
    return patients[(time > 0) & event.isin([0, 1])]


def who_takes_part(patients: pd.DataFrame, task: str) -> tuple[pd.DataFrame, list[str]]:
    """The patients a task can use, and notes about those it cannot.

    Returns
    -------
    known : DataFrame
        Empty for a class target with one class alone: there is nothing to tell apart.
    notes : list of str
    """
    known, notes = usable(patients, task), []
    if len(known) < len(patients):
        lack = "no label" if task == "subtyping" else "no event indicator, or no follow-up time above 0"
        notes.append(f"{len(patients) - len(known)} of {len(patients)} patients have {lack} and take no part in {task}")
    if task == "subtyping" and len(known) and known["label"].astype(str).nunique() < 2:
        only = known["label"].iloc[0]
        notes.append(f"all {len(known)} patients with a label are {only}: a cohort of one label has no subtyping")
        known = known.iloc[:0]
    return known, notes


def by_patient(refits: np.ndarray | None, n: int) -> list:
    """Refitted predictions (B, n, ...) as one flat float32 array a patient, resample first; None for each without."""
    if refits is None or not np.isfinite(refits).all():
        return [None] * n
    return list(np.moveaxis(np.asarray(refits, dtype=np.float32), 1, 0).reshape(n, -1))
