"""Who takes part in a target, and what all kinds share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .registry import Target


def usable(patients: pd.DataFrame, task: Any) -> pd.DataFrame:
    """The patients a target can use: a label, or a positive follow-up time and a known event."""
    return patients[Target.of(task).rules.usable(patients)]


def who_takes_part(patients: pd.DataFrame, task: Any) -> tuple[pd.DataFrame, list[str]]:
    """The patients a target can use, and notes about those it cannot.

    Returns
    -------
    known : DataFrame
        Empty for a class target with one class alone: there is nothing to tell apart.
    notes : list of str
    """
    target = Target.of(task)
    rules = target.rules
    known, notes = usable(patients, target), []
    if len(known) < len(patients):
        missing = len(patients) - len(known)
        notes.append(f"{missing} of {len(patients)} patients have {rules.lack} and take no part in {target.name}")
    reason = rules.nothing_to_learn(known, target.name)
    if reason:
        notes.append(reason)
        known = known.iloc[:0]
    return known, notes


def by_patient(refits: np.ndarray | None, n: int) -> list:
    """Refitted predictions (B, n, ...) as one flat float32 array a patient, resample first; None for each without."""
    if refits is None or not np.isfinite(refits).all():
        return [None] * n
    return list(np.moveaxis(np.asarray(refits, dtype=np.float32), 1, 0).reshape(n, -1))
