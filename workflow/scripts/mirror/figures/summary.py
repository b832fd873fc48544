"""The answer at a glance: every method in every cohort, and what each ingredient is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .names import HEADS, MODALITIES, method_name, method_order, metric_name
from .style import PALETTE, colour, empty_figure, grid_of

MODALITY_COLOURS = {"wsi": PALETTE[0], "rna": PALETTE[1], "fused": PALETTE[2], "clinical": PALETTE[7]}
CHANCE = {"auroc": 0.5, "c_index": 0.5, "accuracy": None}


def forest(metrics: pd.DataFrame, shown: dict[str, str], titles: dict[str, str]) -> Figure:
    """A forest plot: pooled value and 95 % interval of every method, a panel a cohort and task.

    Parameters
    ----------
    metrics : DataFrame
        Long metrics of one scheme.
    shown : dict
        Task to its metric.
    titles : dict
        Cohort to its title.
    """
    some = metrics[
        (metrics["fold"].astype(str) == "pooled") & metrics["protocol"].isin(["linear", "supervised", "finetune"])
    ]
    some = some[some["metric"] == some["task"].map(shown)]
    panels = list(some.groupby(["cohort", "task"], sort=False))
    if not panels:
        return empty_figure("no pooled metrics")
    longest = max(len(rows) for _, rows in panels)
    figure, axes = grid_of(len(panels), width=5.0, height=0.9 + 0.2 * longest, columns=2)
    for panel, ((cohort, task), rows) in zip(axes, panels, strict=True):
        rows = rows.fillna({"head": "", "encoder": ""})
        many = rows.loc[rows["encoder"] != "none", "encoder"].nunique() > 1
        rows = rows.assign(order=[method_order(m) for m in rows["method"]]).sort_values(["order", "modality", "head"])
        texts = []
        for y, row in enumerate(rows.itertuples()):
            tone = MODALITY_COLOURS.get(row.modality, "black")
            panel.plot([row.ci_low, row.ci_high], [y, y], color=tone, lw=1.4)
            panel.plot(row.value, y, "s", color=tone, ms=4)
            head = f", {HEADS.get(row.head, row.head)}" if task == "survival" and row.head else ""
            encoder = f" [{row.encoder}]" if many and row.encoder != "none" else ""
            texts.append(f"{method_name(row.method)} ({MODALITIES.get(row.modality, row.modality)}{head}){encoder}")
        if CHANCE.get(shown[task]):
            panel.axvline(CHANCE[shown[task]], color="0.7", lw=0.8, zorder=0)
        panel.set(yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6), xlabel=metric_name(shown[task]))
        panel.set_yticklabels(texts, fontsize=7)
        panel.set_title(f"{titles.get(cohort, cohort)}: {task} (n = {int(rows['n'].max())})", loc="left")
    return figure


def ablation(metrics: pd.DataFrame, variants: list[str], shown: dict[str, str]) -> Figure:
    """Bars with 95 % intervals: the variants by modality."""
    some = metrics[
        (metrics["fold"].astype(str) == "pooled") & metrics["method"].isin(variants) & (metrics["protocol"] == "linear")
    ]
    panels = [(k, r) for k, r in some.groupby(["cohort", "task"], sort=False) if k[1] in shown]
    if not panels:
        return empty_figure("no variants to compare")
    figure, axes = grid_of(len(panels), width=4.6, height=3.2, columns=2)
    for panel, ((cohort, task), rows) in zip(axes, panels, strict=True):
        rows = rows[rows["metric"] == shown[task]].fillna({"head": ""})
        if task == "survival":
            rows = rows[rows["head"] == sorted(rows["head"].unique())[0]]
        rows = rows.drop_duplicates(["method", "modality"])
        modalities = [m for m in MODALITIES if m in set(rows["modality"])]
        order = sorted(set(rows["method"]), key=method_order)
        width = 0.8 / max(len(order), 1)
        for number, method in enumerate(order):
            own = rows[rows["method"] == method].set_index("modality").reindex(modalities)
            x = np.arange(len(modalities)) + (number - (len(order) - 1) / 2) * width
            error = np.abs(own[["ci_low", "ci_high"]].to_numpy().T - own["value"].to_numpy())
            panel.bar(
                x,
                own["value"],
                width * 0.92,
                yerr=error,
                color=colour(number),
                error_kw={"lw": 0.9},
                label=method_name(method),
            )
        panel.set(xticks=range(len(modalities)), ylabel=metric_name(shown[task]), title=f"{cohort}: {task}")
        panel.set_xticklabels([MODALITIES[m] for m in modalities])
        values = rows[["ci_low", "value"]].to_numpy(float)
        panel.set_ylim(max(0.0, np.nanmin(values) - 0.08), 1.0)
        panel.legend(fontsize=7, loc="upper left", ncols=2)
    return figure
