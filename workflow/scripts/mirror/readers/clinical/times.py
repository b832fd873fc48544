"""Rules for follow-up times that are zero, negative or missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...config.sources import ClinicalSource
from ...core.errors import InputError
from .vital import lost_text


def clean_times(
    df: pd.DataFrame, source: ClinicalSource, lost: dict[str, int] | None
) -> tuple[pd.DataFrame, list[dict[str, Any]], dict[str, int]]:
    """Apply the rules for zero, negative and missing times; return the flow's rows and the counts."""
    df = df.copy()
    has_time, has_event = df["time_days"].notna(), df["event"].notna()
    negative = df["time_days"] < 0
    zero = df["time_days"] == 0
    counts = {
        "without_time": int((~has_time).sum()),
        "without_event": int((~has_event).sum()),
        "negative": int(negative.sum()),
        "zero": int(zero.sum()),
        "zero_with_event": int((zero & (df["event"] == 1)).sum()),
    }
    flow: list[dict[str, Any]] = []
    kept = len(df)
    flow.append(flow_step("in the clinical table", kept, 0, ""))
    gone = ~(has_time & has_event)
    why = "no time or no event; they stay for subtyping"
    if lost and (lost["living_lost"] or lost["dead_lost"]):
        why = f"{lost_text(lost, source.endpoint)}; they stay for subtyping"
    steps = [("time and event known", gone, why)]
    rules = [
        ("negative times", negative & ~gone, source.negative_times),
        ("times of zero", zero & ~gone, source.zero_times),
    ]
    for name, mask, rule in rules:
        if not mask.any():
            continue
        if rule == "error":
            raise InputError(
                f"{int(mask.sum())} patients have {name} ({', '.join(df.loc[mask, 'patient_id'].head(3))})",
                file=source.path,
                remedy=f"set `clinical.{'zero_times' if 'zero' in name else 'negative_times'}`, or correct the table",
            )
        if rule == "half_day":
            df.loc[mask, "time_days"] = 0.5
        elif rule == "missing":
            steps.append((f"without {name}", mask, f"{name}; they stay for subtyping"))
        if rule in {"half_day", "keep"}:
            steps.append((f"{name} ({int(mask.sum())}): {rule}", pd.Series(False, df.index), ""))
    for name, mask, reason in steps:
        kept -= int(mask.sum())
        df.loc[mask, ["time_days", "event"]] = np.nan
        flow.append(flow_step(f"follow-up: {name}", kept, int(mask.sum()), reason if mask.any() else ""))
    return df, flow, counts


def flow_step(step: str, kept: int, dropped: int, reason: str) -> dict[str, Any]:
    return {"step": step, "unit": "patients", "kept": kept, "dropped": dropped, "reason": reason}
