"""The answer at a glance: every method in every cohort, and what each ingredient is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..display_names import HEADS, MODALITIES, method_name, method_order, metric_name
from .style import PALETTE, colour, empty_figure, grid_of

MODALITY_COLOURS = {"wsi": PALETTE[0], "rna": PALETTE[1], "fused": PALETTE[2], "clinical": PALETTE[7]}
CHANCE = {"auroc": 0.5, "c_index": 0.5}
HATCHES = ("", "//", "..", "xx")


def forest(metrics: pd.DataFrame, shown: dict[str, str], titles: dict[str, str]) -> Figure:
    """A forest plot: pooled value and 95 % interval of every method, a panel per cohort and task.

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
    figure, axes = grid_of(len(panels), width=4.6, height=0.9 + 0.17 * longest, columns=2)
    for panel, ((cohort, task), rows) in zip(axes, panels, strict=True):
        rows = rows.fillna({"head": "", "encoder": ""})
        many = rows.loc[rows["encoder"] != "none", "encoder"].nunique() > 1
        rows = rows.assign(order=[method_order(m) for m in rows["method"]]).sort_values(["order", "modality", "head"])
        texts, last = [], None
        for y, row in enumerate(rows.itertuples()):
            truth = row.modality == "truth"
            tone = MODALITY_COLOURS.get(row.modality, "black")
            panel.plot([row.ci_low, row.ci_high], [y, y], color=tone, lw=1.4, ls=":" if truth else "-")
            panel.plot(row.value, y, "D" if truth else "s", color=tone, ms=4, mfc="white" if truth else tone)
            head = ", ".join(filter(None, [MODALITIES.get(row.modality, row.modality), HEADS.get(row.head, row.head)]))
            encoder = f" [{row.encoder}]" if many and row.encoder != "none" else ""
            texts.append(method_name(row.method) + ("" if truth else f" ({head})") + encoder)
            if last not in (None, row.method):
                panel.axhline(y - 0.5, color="0.9", lw=0.6, zorder=0)
            last = row.method
        if CHANCE.get(shown[task]):
            panel.axvline(CHANCE[shown[task]], color="0.7", lw=0.8, zorder=0)
        panel.set(yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6), xlabel=metric_name(shown[task]))
        panel.set_yticklabels(texts, fontsize=7)
        size = f"n = {int(rows['n'].max())}"
        if rows["events"].notna().any():
            size += f", {int(rows['events'].max())} events"
        panel.set_title(f"{titles.get(cohort, cohort)}: {task} ({size})", loc="left")
    return figure


def ablation(metrics: pd.DataFrame, variants: list[str], shown: dict[str, str], titles: dict[str, str]) -> Figure:
    """Bars with 95 % intervals: the variants by modality.

    Bars start at chance (0.5 for AUROC and the C-index): a bar's length is what was gained over it.
    """
    some = metrics[
        (metrics["fold"].astype(str) == "pooled") & metrics["method"].isin(variants) & (metrics["protocol"] == "linear")
    ]
    some = some[some["metric"] == some["task"].map(shown)].fillna({"head": ""})
    panels = list(some.groupby(["cohort", "encoder", "task"], sort=False))
    if not panels:
        return empty_figure("no variants to compare")
    figure, axes = grid_of(len(panels), width=3.9, height=3.0, columns=2)
    everyone = sorted({m for m in some["method"]}, key=method_order)
    handles = {}
    for panel, ((cohort, encoder, task), rows) in zip(axes, panels, strict=True):
        head = sorted(rows["head"].unique())[0]
        rows = rows[rows["head"] == head].drop_duplicates(["method", "modality"])
        modalities = [m for m in MODALITIES if m in set(rows["modality"])]
        order = [m for m in everyone if m in set(rows["method"])]
        width = 0.8 / max(len(order), 1)
        base = CHANCE.get(shown[task]) or 0.0
        for number, method in enumerate(order):
            own = rows[rows["method"] == method].set_index("modality").reindex(modalities)
            x = np.arange(len(modalities)) + (number - (len(order) - 1) / 2) * width
            value = own["value"].to_numpy(float)
            error = np.maximum([value - own["ci_low"].to_numpy(float), own["ci_high"].to_numpy(float) - value], 0)
            tone, hatch = colour(everyone.index(method)), HATCHES[everyone.index(method) // 8 % len(HATCHES)]
            bars = panel.bar(x, value - base, width * 0.9, bottom=base, color=tone, hatch=hatch)
            panel.errorbar(x, value, np.nan_to_num(error), fmt="none", ecolor="0.25", elinewidth=0.9, capsize=2)
            handles[method_name(method)] = bars
        panel.axhline(base, color="0.4", lw=0.8)
        name = ", ".join(filter(None, [HEADS.get(head, head)]))
        panel.set(xticks=range(len(modalities)), ylabel=metric_name(shown[task]) + (f" ({name})" if name else ""))
        size = f"n = {int(rows['n'].max())}"
        if rows["events"].notna().any():
            size += f", {int(rows['events'].max())} events"
        panel.set_title(f"{titles.get(cohort, cohort)}: {task} ({encoder}; {size})", fontsize=9)
        panel.set_xticklabels([MODALITIES[m] for m in modalities])
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=min(4, len(handles)))  # type: ignore[call-overload]
    return figure
