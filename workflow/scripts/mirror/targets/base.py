"""What all kinds of target share."""

from __future__ import annotations

import pandas as pd


def usable(patients: pd.DataFrame, task: str) -> pd.DataFrame:
    """The patients a task can use: a label, or a positive follow-up time and a known event."""
    if task == "subtyping":
        return patients[patients["label"].notna() & (patients["label"].astype(str) != "")]
    time = pd.to_numeric(patients["time_days"], errors="coerce")
    event = pd.to_numeric(patients["event"], errors="coerce")
    return patients[(time > 0) & event.isin([0, 1])]
