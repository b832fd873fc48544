"""What scores add to clinical covariates."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from ..display_names import HEADS, MODALITIES, method_name, method_order, metric_name
from .style import PALETTE, empty_figure, grid_of

MODALITY_COLOURS = {"wsi": PALETTE[0], "rna": PALETTE[1], "fused": PALETTE[2]}


def forest(added: pd.DataFrame, titles: dict[str, str], targets: dict[str, str]) -> Figure:
    """Difference of the primary metric, covariates and score minus covariates alone, with paired intervals.

    Parameters
    ----------
    added : DataFrame
        See `mirror.evaluation.added.COLUMNS`; rows of one split scheme.
    titles, targets : dict
        Titles of cohorts and of targets.
    """
    known = added[added["difference"].notna()] if len(added) else added
    if not len(known):
        return empty_figure("no clinical covariates, or no method to compare with them")
    panels = list(known.groupby(["cohort", "task"], sort=False))
    longest = max(len(rows) for _, rows in panels)
    figure, axes = grid_of(len(panels), width=4.4, height=0.9 + 0.2 * longest, columns=2)
    for panel, ((cohort, task), rows) in zip(axes, panels, strict=True):
        rows = rows.fillna({"head": "", "encoder": ""})
        rows = rows.assign(order=[method_order(m) for m in rows["method"]]).sort_values(["order", "encoder"])
        texts = []
        for y, row in enumerate(rows.itertuples()):
            tone = MODALITY_COLOURS.get(row.modality, "black")
            panel.plot([row.ci_low, row.ci_high], [y, y], color=tone, lw=1.4)
            sure = pd.notna(row.p_holm) and row.p_holm < 0.05
            panel.plot(row.difference, y, "s", color=tone, ms=4, mfc=tone if sure else "white")
            what = ", ".join(filter(None, [MODALITIES.get(row.modality, row.modality), HEADS.get(row.head, "")]))
            encoder = "" if row.encoder in ("", "none") else f" [{row.encoder}]"
            texts.append(f"{method_name(row.method)} ({what}){encoder}")
        panel.axvline(0, color="0.6", lw=0.8, zorder=0)
        panel.set(yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6))
        panel.set_yticklabels(texts, fontsize=7)
        first = rows.iloc[0]
        size = f"n = {int(first['n'])}" + ("" if pd.isna(first["events"]) else f", {int(first['events'])} events")
        panel.set_xlabel(f"gain in {metric_name(first['metric'])} over {first['clinical']:.3f}", fontsize=8)
        panel.set_title(f"{titles.get(cohort, cohort)}: {targets.get(task, task)} ({size})", loc="left", fontsize=8)
    return figure
