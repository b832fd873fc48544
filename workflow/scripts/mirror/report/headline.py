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
    rows = comparisons[
        (comparisons["cohort"] == best["cohort"])
        & (comparisons["scheme"] == best["scheme"])
        & (comparisons["task"] == best["task"])
        & (comparisons["metric"] == metric)
        & (comparisons["encoder"] == encoder)
        & (comparisons["test"] == "bootstrap")
    ].fillna({f"{name}_{side}": "" for name in SIDE for side in "ab"})
    for name in SIDE:
        rows = rows[(rows[f"{name}_a"] == best[name]) & (rows[f"{name}_b"] == second[name])]
    if rows.empty:
        return f"The runner-up, {_called(second)} ({second['value']:.3f}), was scored on other patients: no comparison."
    row = rows.iloc[0]
    verdict = "It differs from" if row["p_holm"] < ALPHA else "It cannot be told from"
    return (
        f"{verdict} the runner-up, {_called(second)} at {second['value']:.3f}: difference {row['difference']:.3f}"
        f"{_interval(row)}, p = {row['p_holm']:.2g} after Holm's correction over the table."
    )
