"""Values of class and ordinal targets: merged, left out, thinned; each step counted for the cohort flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


def apply_values(table: pd.DataFrame, settings: Mapping[str, Any]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Apply ``map``, ``keep``, ``exclude``, ``order`` and ``min_count`` of a target to its labels.

    Parameters
    ----------
    table : DataFrame
        ``patient_id`` and ``label``, the study's patients.
    settings : mapping
        The target's settings; a key that is missing changes nothing.

    Returns
    -------
    table : DataFrame
        A copy; patients whose value is left out have none.
    flow : list of dict
        Rows of the cohort flow: step, unit, kept, dropped, reason.
    """
    out = table.copy()
    flow: list[dict[str, Any]] = []

    def add(step: str, dropped: int, reason: str) -> None:
        kept = int(out["label"].notna().sum())
        flow.append({"step": step, "unit": "patients", "kept": kept, "dropped": int(dropped), "reason": reason})

    def leave_out(step: str, gone: pd.Series, note: str = "") -> None:
        counts = out.loc[gone, "label"].value_counts()
        out.loc[gone, "label"] = None
        names = ", ".join(f"{name} {n}" for name, n in counts.items())
        add(step, int(gone.sum()), names + note)

    label = out["label"].astype(object).where(out["label"].notna(), None)
    merged = dict(settings.get("map") or {})
    out["label"] = label.map(lambda value: merged.get(value, value))
    for old, new in merged.items():
        n = int((label == old).sum())
        add(f"{old} becomes {new}", 0, f"{n} patients" if n else f"no patient has the value {old!r}")
    known = out["label"].notna()
    excluded = set(settings.get("exclude") or ())
    if excluded:
        gone = known & (out["label"].isin(excluded) | label.isin(excluded))
        leave_out("values excluded", gone)
        for name in sorted(excluded - set(label.dropna()) - set(merged.values())):
            add(f"value {name} excluded", 0, f"no patient has the value {name!r}")
    for key in ("keep", "order"):
        wanted = list(settings.get(key) or ())
        if wanted:
            gone = out["label"].notna() & ~out["label"].isin(wanted)
            leave_out(f"values of `{key}` ({', '.join(wanted)})", gone)
            for name in (name for name in wanted if not (out["label"] == name).any()):
                add(f"value {name}", 0, f"no patient has the value {name!r}")
    least = int(settings.get("min_count") or 1)
    counts = out["label"].value_counts()
    rare = counts[counts < least]
    if len(rare):
        note = "; these patients stay for other targets"
        leave_out(f"values of at least {least} patients", out["label"].isin(rare.index), note)
    return out, flow
