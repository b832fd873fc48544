"""Comparisons between the rows of a table: which differences are more than chance."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, product

import numpy as np
import pandas as pd

from ..core.reserved import CEILING, NO_ENCODER
from ..metrics.names import LOWER_IS_BETTER
from ..metrics.statistics import Difference, corrected_resampled_t, delong, holm, paired_bootstrap

SIDE = ["method", "modality", "head", "protocol"]
TABLE = ["cohort", "encoder", "scheme", "task", "table"]
COMPARISON_COLUMNS = [
    *TABLE,
    "metric",
    "test",
    *(f"{name}_a" for name in SIDE),
    *(f"{name}_b" for name in SIDE),
    *("value_a", "value_b", "difference", "ci_low", "ci_high", "p", "p_holm"),
    *("rank_a", "rank_b", "significant_vs_runner_up", "n", "events"),
]


@dataclass
class Entry:
    """One row of a table: a method, protocol, modality and head.

    Attributes
    ----------
    keys : dict
        See `predictions.KEYS`.
    pooled : dict of str to ndarray, shape (R + 1,)
        Bootstrap values by metric; row 0 is the value itself.
    by_fold : dict of (seed, repeat, fold) to dict of metric to value
    """

    keys: dict
    n: int
    events: int | None
    rows: pd.DataFrame
    test_share: float
    pooled: dict[str, np.ndarray] = field(default_factory=dict)
    by_fold: dict[tuple, dict[str, float]] = field(default_factory=dict)

    @property
    def patients(self) -> frozenset[str]:
        """Who was scored."""
        return frozenset(self.rows["patient_id"])


def table_of(keys: dict) -> str:
    """Models trained on all training patients share a table, whatever is trained; so does a direction of retrieval."""
    if keys["task"] == "retrieval":
        return keys["modality"]
    return "fewshot" if keys["protocol"] == "fewshot" else "full"


def _delong(a: Entry, b: Entry, level: float) -> Difference | None:
    """DeLong for two classes, one prediction a patient by either method."""
    scored = []
    for entry in (a, b):
        rows = entry.rows
        if rows["patient_id"].duplicated().any() or {len(c) for c in rows["classes"]} != {2}:
            return None
        if len({tuple(c) for c in rows["classes"]}) != 1:
            return None
        second = pd.Series([p[1] for p in rows["probabilities"]], index=rows["patient_id"])
        truth = pd.Series((rows["y_true"] == rows["classes"].iloc[0][1]).to_numpy(), index=rows["patient_id"])
        scored.append((second, truth))
    (score_a, truth), (score_b, _) = scored
    return delong(truth.to_numpy(), score_a.to_numpy(), score_b.reindex(score_a.index).to_numpy(), level)


def _over_folds(a: Entry, b: Entry, metric: str, level: float) -> Difference | None:
    both = [key for key in a.by_fold if metric in a.by_fold[key] and metric in b.by_fold.get(key, {})]
    gaps = np.array([a.by_fold[key][metric] - b.by_fold[key][metric] for key in both])
    return corrected_resampled_t(gaps, a.test_share, level)


def _row(a: Entry, b: Entry, metric: str, test: str, found: Difference) -> dict:
    return {
        **{name: a.keys.get(name) for name in TABLE[:-1]},
        "table": table_of(a.keys),
        "metric": metric,
        "test": test,
        **{f"{name}_a": a.keys[name] for name in SIDE},
        **{f"{name}_b": b.keys[name] for name in SIDE},
        "value_a": float(a.pooled[metric][0]),
        "value_b": float(b.pooled[metric][0]),
        "difference": found.value,
        "ci_low": found.low,
        "ci_high": found.high,
        "p": found.p,
        "n": a.n,
        "events": a.events,
    }


def compare_entries(task: str, entries: list[Entry], level: float) -> pd.DataFrame:
    """Compare the rows of each table.

    In each column (metric) the best entry is compared with every other one, and entries of
    one modality with each other; only entries scored on the same patients are compared. The
    better entry is side a. Tests: ``bootstrap`` (paired, over patients), ``delong`` (AUROC of
    two classes, one prediction a patient) and ``corrected_t`` (over folds and repeats). Holm's
    correction runs over a table, one family a test. ``significant_vs_runner_up`` is true in
    the one bootstrap row of best against second whose adjusted p is below 1 - level.

    Parameters
    ----------
    task : str
    entries : list of Entry
        Of one cohort and scheme, scored with the same bootstrap weights.
    level : float

    Returns
    -------
    DataFrame
        `COMPARISON_COLUMNS`.
    """
    # The truth of a simulated cohort is no competitor: it stands beside the methods, never among them.
    entries = [entry for entry in entries if entry.keys["method"] != CEILING]
    # Methods that read no patch features (encoder "none") stand in the table of every encoder.
    encoders = sorted({entry.keys["encoder"] for entry in entries} - {NO_ENCODER}) or [NO_ENCODER]
    parts = []
    for encoder, table in product(encoders, sorted({table_of(entry.keys) for entry in entries})):
        members = [
            entry
            for entry in entries
            if entry.keys["encoder"] in (encoder, NO_ENCODER) and table_of(entry.keys) == table
        ]
        rows: list[dict] = []
        for metric in sorted({name for entry in members for name in entry.pooled} - {"logrank_p"}):
            sign = 1 if metric in LOWER_IS_BETTER else -1
            column = sorted(
                (entry for entry in members if metric in entry.pooled), key=lambda e: sign * e.pooled[metric][0]
            )
            for (i, a), (j, b) in combinations(enumerate(column), 2):
                if a.patients != b.patients or (i > 0 and a.keys["modality"] != b.keys["modality"]):
                    continue
                tests = {
                    "bootstrap": paired_bootstrap(a.pooled[metric], b.pooled[metric], level),
                    "corrected_t": _over_folds(a, b, metric, level),
                    "delong": _delong(a, b, level) if metric == "auroc" and task == "subtyping" else None,
                }
                shared = {"encoder": encoder, "rank_a": i + 1, "rank_b": j + 1}
                rows += [{**_row(a, b, metric, test, d), **shared} for test, d in tests.items() if d is not None]
        if rows:
            parts.append(pd.DataFrame(rows))
    if not parts:
        return pd.DataFrame(columns=COMPARISON_COLUMNS)
    for table in parts:
        for _, index in table.groupby("test").groups.items():
            table.loc[index, "p_holm"] = holm(table.loc[index, "p"].to_numpy())
        table["significant_vs_runner_up"] = (
            (table["test"] == "bootstrap")
            & (table["rank_a"] == 1)
            & (table["rank_b"] == 2)
            & (table["p_holm"] < 1 - level)
        )
    return pd.concat(parts, ignore_index=True)[COMPARISON_COLUMNS].astype({"events": "Int64"})
