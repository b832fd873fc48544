"""The answer in a sentence: the best method with its interval, and whether it differs from the runner-up."""

from __future__ import annotations

import pandas as pd

from ..core.reserved import CEILING
from .display_names import HEADS, MODALITIES, method_name, metric_name

FULL = ("linear", "supervised", "finetune")
ALPHA = 0.05
SIDE = ["method", "modality", "head"]


def _called(row: pd.Series) -> str:
    """A method with its input (and its head, where there is one worth naming)."""
    head = HEADS.get(row["head"], "") if row["head"] else ""
    return f"{method_name(row['method'])} ({', '.join(filter(None, [MODALITIES.get(row['modality'], ''), head]))})"


def _interval(row: pd.Series, low: str = "ci_low", high: str = "ci_high") -> str:
    return "" if pd.isna(row[low]) else f" [{row[low]:.3f}, {row[high]:.3f}]"


def answers(
    metrics: pd.DataFrame, comparisons: pd.DataFrame, scheme: str, shown: dict[str, str], titles: dict[str, str]
) -> list[str]:
    """One sentence or two for every cohort, task and patch encoder.

    Parameters
    ----------
    metrics, comparisons : DataFrame
        As written by compute_metrics.
    scheme : str
    shown : dict
        Task to the metric that decides (larger is better).
    titles : dict
        Cohort to its title.
    """
    some = metrics[
        (metrics["fold"].astype(str) == "pooled")
        & (metrics["scheme"] == scheme)
        & metrics["protocol"].isin(FULL)
        & (metrics["metric"] == metrics["task"].map(shown))
    ].fillna({"head": "", "modality": "", "encoder": "none"})
    out = []
    for (cohort, task), rows in some.groupby(["cohort", "task"], sort=False):
        methods = rows[rows["method"] != CEILING]
        encoders = [e for e in dict.fromkeys(methods["encoder"]) if e != "none"] or ["none"]
        for encoder in encoders:
            here = methods[methods["encoder"].isin([encoder, "none"])].sort_values("value", ascending=False)
            if here.empty:
                continue
            here = _declared(here)
            best = here.iloc[0]
            size = f"{int(best['n'])} patients" + ("" if pd.isna(best["events"]) else f", {int(best['events'])} events")
            place = ", ".join(filter(None, [scheme, "" if encoder == "none" else encoder, size]))
            text = (
                f"{titles.get(cohort, cohort)}, {task} ({place}): best is {_called(best)}, "
                f"{metric_name(shown[task])} {best['value']:.3f}{_interval(best)}. "
            )
            text += _versus(comparisons, best, here, encoder, shown[task])
            ceiling = rows[rows["method"] == CEILING]
            if len(ceiling):
                text += (
                    f" The true factors themselves reach {ceiling.iloc[0]['value']:.3f}{_interval(ceiling.iloc[0])}."
                )
            out.append(text)
    return out


def _versus(comparisons: pd.DataFrame, best: pd.Series, here: pd.DataFrame, encoder: str, metric: str) -> str:
    """Whether the best differs from the best of the other methods (another head of its own is none)."""
    others = here[here["method"] != best["method"]]
    if others.empty:
        return "There is no other method to compare it with."
    second = others.iloc[0]
    family = rows = _of_target(comparisons, best, encoder, metric)
    for name in SIDE:
        rows = rows[(rows[f"{name}_a"] == best[name]) & (rows[f"{name}_b"] == second[name])]
    if rows.empty:
        return f"The runner-up, {_called(second)} ({second['value']:.3f}), was scored on other patients: no comparison."
    row = rows.iloc[0]
    rivals = (
        f"the runner-up, {_called(second)} at {second['value']:.3f}: difference {row['difference']:.3f}"
        f"{_interval(row)}, p = {row['p_holm']:.2g} after Holm's correction over the {len(family)} pairs of "
        "pre-declared rows."
    )
    if row["p_holm"] < ALPHA:
        return f"It differs from {rivals}"
    return (
        f"It cannot be told apart from {rivals} This cohort could have shown a difference of "
        f"{row['smallest_difference']:.3f} or more (power 80 %)."
    )


def _of_target(comparisons: pd.DataFrame, row: pd.Series, encoder: str, metric: str) -> pd.DataFrame:
    """The family of tests that a row stands in."""
    some = comparisons[
        (comparisons["cohort"] == row["cohort"])
        & (comparisons["scheme"] == row["scheme"])
        & (comparisons["task"] == row["task"])
        & (comparisons["metric"] == metric)
        & (comparisons["encoder"] == encoder)
        & (comparisons["table"] == "full")
    ]
    some = some[some["in_family"].astype(bool)] if len(some) else some
    return some.fillna({f"{name}_{side}": "" for name in SIDE for side in "ab"})


def _declared(here: pd.DataFrame) -> pd.DataFrame:
    """The pre-declared row of each method; all rows of metrics that do not say which these are."""
    if "declared" not in here:
        return here
    chosen = here[here["declared"].astype(str) == "True"]
    return chosen if len(chosen) else here
