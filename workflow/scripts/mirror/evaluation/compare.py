"""Comparisons between the rows of a table: which differences are more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

import numpy as np
import pandas as pd
from scipy.stats import norm

from ..core.protocols import is_fewshot
from ..core.reserved import CEILING, NO_ENCODER
from ..metrics.names import LOWER_IS_BETTER, PRIMARY, UNRANKED
from ..metrics.statistics import Difference, corrected_resampled_t, holm, paired_bootstrap

POWER = 0.8
SIDE = ["method", "modality", "head", "protocol"]
TABLE = ["cohort", "encoder", "scheme", "task", "table"]
COMPARISON_COLUMNS = [
    *TABLE,
    "metric",
    "test",
    *(f"{name}_a" for name in SIDE),
    *(f"{name}_b" for name in SIDE),
    *("value_a", "value_b", "difference", "ci_low", "ci_high", "p", "p_holm"),
    *("rank_a", "rank_b", "in_family", "smallest_difference", "significant_vs_runner_up", "n", "events"),
]


@dataclass
class TableRow:
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
    """Models trained on all training patients share a table; so do those of one number of shots, and a direction of
    retrieval."""
    if keys["task"] == "retrieval":
        return keys["modality"]
    return keys["protocol"] if is_fewshot(keys["protocol"]) else "full"


def _over_folds(a: TableRow, b: TableRow, metric: str, level: float) -> Difference | None:
    both = [key for key in a.by_fold if metric in a.by_fold[key] and metric in b.by_fold.get(key, {})]
    gaps = np.array([a.by_fold[key][metric] - b.by_fold[key][metric] for key in both])
    return corrected_resampled_t(gaps, a.test_share, level)


def _row(a: TableRow, b: TableRow, metric: str, test: str, found: Difference) -> dict:
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


def declared(entries: list[TableRow], heads: Sequence[str]) -> list[TableRow]:
    """The one row of each method that takes part in the family of tests, by rules that look at no result.

    Parameters
    ----------
    entries : list of TableRow
    heads : sequence of str
        Survival heads in the configuration's order.

    Returns
    -------
    list of TableRow
        Per patch encoder, table and method: the linear protocol before fine-tuning, fused before a single
        modality, the first of ``heads`` that the method has before its others.
    """
    order = {name: place for place, name in enumerate(heads)}

    def place(entry: TableRow) -> tuple:
        keys = entry.keys
        modality = keys["modality"]
        return (
            keys["protocol"] == "finetune",
            modality != "fused",
            modality != "wsi_to_rna",
            order.get(keys["head"], len(order)),
            str(modality),
            str(keys["head"]),
        )

    best: dict[tuple, TableRow] = {}
    for entry in sorted(entries, key=place):
        best.setdefault((entry.keys["encoder"], table_of(entry.keys), entry.keys["method"]), entry)
    return list(best.values())


def smallest_difference(a: np.ndarray, b: np.ndarray, level: float, tests: int) -> float:
    """The true difference that a test of these two rows would find in four of five such cohorts.

    Parameters
    ----------
    a, b : ndarray, shape (R + 1,)
        Bootstrap values.
    level : float
    tests : int
        Size of the family (Bonferroni's bound of Holm's first step).
    """
    gap = (a - b)[1:]
    error = gap[np.isfinite(gap)].std(ddof=1)
    return float((norm.isf((1 - level) / 2 / max(tests, 1)) + norm.ppf(POWER)) * error)


def compare_entries(
    task: str,
    entries: list[TableRow],
    level: float,
    heads: Sequence[str] = ("discrete", "cox"),
    primary: str | None = None,
) -> pd.DataFrame:
    """Compare the rows of each table.

    One family of tests per table: the declared row of each method (`declared`), in the target's primary
    metric (`mirror.metrics.names.PRIMARY`), every pair, because which method is best is seen from the
    same data. Holm's correction runs over it, and ``in_family`` marks it; no other row has an adjusted
    p value. In the other metrics, and beside the family, the best row is compared with every other one
    and rows of one modality with each other: differences and intervals, without a verdict. Only rows
    scored on the same patients are compared. The better row is side a.

    Tests: ``bootstrap`` (paired; see `mirror.evaluation.uncertainty` for what is resampled) and
    ``corrected_t`` (over folds and repeats, never adjusted).

    Parameters
    ----------
    task : str
    entries : list of TableRow
        Of one cohort and scheme, scored with the same bootstrap weights.
    level : float
    heads : sequence of str
        See `declared`.
    primary : str, optional
        The metric that decides; that of `PRIMARY` for the names of short forms.

    Returns
    -------
    DataFrame
        `COMPARISON_COLUMNS`. ``smallest_difference`` is what the cohort could have shown (family only).
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
        family = {id(entry) for entry in declared(members, heads)}
        rows: list[dict] = []
        for metric in sorted({name for entry in members for name in entry.pooled} - UNRANKED):
            sign = 1 if metric in LOWER_IS_BETTER else -1
            column = sorted(
                (entry for entry in members if metric in entry.pooled), key=lambda e: sign * e.pooled[metric][0]
            )
            for (i, a), (j, b) in combinations(enumerate(column), 2):
                inside = metric == (primary or PRIMARY.get(task)) and {id(a), id(b)} <= family
                if a.patients != b.patients:
                    continue
                if not inside and i > 0 and a.keys["modality"] != b.keys["modality"]:
                    continue
                tests = {
                    "bootstrap": paired_bootstrap(a.pooled[metric], b.pooled[metric], level),
                    "corrected_t": _over_folds(a, b, metric, level),
                }
                shared = {"encoder": encoder, "rank_a": i + 1, "rank_b": j + 1}
                for test, found in tests.items():
                    if found is None:
                        continue
                    tested = inside and test == "bootstrap"
                    pair = (a.pooled[metric], b.pooled[metric]) if tested else None
                    rows.append({**_row(a, b, metric, test, found), **shared, "in_family": tested, "_pair": pair})
        if rows:
            parts.append(_adjusted(pd.DataFrame(rows), level))
    if not parts:
        return pd.DataFrame(columns=COMPARISON_COLUMNS)
    return pd.concat(parts, ignore_index=True)[COMPARISON_COLUMNS].astype({"events": "Int64"})


def _adjusted(table: pd.DataFrame, level: float) -> pd.DataFrame:
    """Holm over the family, what it could have shown, and whether its best row differs from the next."""
    family = table.index[table["in_family"]]
    table["p_holm"] = np.nan
    table["smallest_difference"] = np.nan
    table["significant_vs_runner_up"] = False
    if len(family):
        table.loc[family, "p_holm"] = holm(table.loc[family, "p"].to_numpy())
        table.loc[family, "smallest_difference"] = [
            smallest_difference(pair[0], pair[1], level, len(family)) for pair in table.loc[family, "_pair"]
        ]
        # Rank 1 of the family, and the next of it: other heads of the same methods stand between them.
        first = table.loc[family, "rank_a"].min()
        best = table.loc[family][table.loc[family, "rank_a"] == first]
        second = best["rank_b"].idxmin()
        table.loc[second, "significant_vs_runner_up"] = bool(table.loc[second, "p_holm"] < 1 - level)
    return table
