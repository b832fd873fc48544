"""Merging, excluding and thinning out labels, each step counted for the cohort flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd


def apply_labels(
    df: pd.DataFrame, label_map: Mapping[str, str] | None, exclude: Iterable[str] | None, min_count: int
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Merge labels, leave patients with excluded labels out, and blank labels that are too rare.

    Parameters
    ----------
    df : pandas.DataFrame
        One row per patient with ``patient_id`` and ``label``.
    label_map : mapping
        Mergers such as ``{"CCRCC": "KIRC"}``; applied once, not in chains.
    exclude : iterable of str
        Labels, before or after merging, whose patients are left out altogether.
    min_count : int
        Labels of fewer patients become missing: these patients stay for survival, not for subtyping.

    Returns
    -------
    df : pandas.DataFrame
        A copy.
    counts : list of dict
        Rows of the cohort flow: step, unit, kept, dropped, reason.
    """
    out = df.copy()
    flow: list[dict[str, Any]] = []

    def add(step: str, kept: int, dropped: int, reason: str) -> None:
        flow.append({"step": step, "unit": "patients", "kept": int(kept), "dropped": int(dropped), "reason": reason})

    label = out["label"].astype(object).where(out["label"].notna(), None)
    present = set(label.dropna())
    label_map, exclude = dict(label_map or {}), set(exclude or ())
    excluded = label.isin(exclude)
    label = label.map(lambda value: label_map.get(value, value))
    excluded |= label.isin(exclude)
    for old, new in label_map.items():
        n = int((out["label"] == old).sum())
        reason = f"{n} patients" if old in present else f"no patient has the label {old!r}"
        add(f"label {old} becomes {new}", len(out), 0, reason)
    out["label"] = label
    for name in sorted(exclude):
        if not ((out["label"] == name) | (df["label"] == name)).any():
            add(f"label {name} excluded", len(out), 0, f"no patient has the label {name!r}")
    if excluded.any():
        counts = df.loc[excluded, "label"].value_counts()
        reason = ", ".join(f"{name} {n}" for name, n in counts.items())
        out = out[~excluded].reset_index(drop=True)
        add("excluded labels", len(out), int(excluded.sum()), reason)
    counts = out["label"].value_counts()
    rare = counts[counts < min_count]
    if len(rare):
        gone = out["label"].isin(rare.index)
        out.loc[gone, "label"] = None
        names = ", ".join(f"{name} {n}" for name, n in rare.items())
        add(
            f"labels of at least {min_count} patients (subtyping only)",
            int(out["label"].notna().sum()),
            int(gone.sum()),
            f"{names}; these patients stay for survival",
        )
    return out, flow
