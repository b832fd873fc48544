"""Does the style cluster? Use of prototypes, agreement of both modalities, stability over folds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..display_names import method_name
from .style import colour, empty_figure, grid_of

SHOWN = 40
BAR = 0.38


def _pairs(panel: Axes, table: pd.DataFrame, left: str, right: str, labels: tuple[str, str]) -> None:
    """Two bars a variant, with their values."""
    place = np.arange(len(table))
    for i, (column, label) in enumerate(zip((left, right), labels, strict=True)):
        bars = panel.bar(place + (i - 0.5) * BAR, table[column].astype(float), BAR, color=colour(i), label=label)
        panel.bar_label(bars, fmt="%.2g", fontsize=7)
    names = zip(table["variant"], table["prototypes"], strict=True)
    panel.set_xticks(place, [f"{method_name(v)}\n{int(k)} prototypes" for v, k in names], fontsize=7)
    panel.margins(y=0.1)
    # Below the axis, where it covers no bar.
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=7)


def style_clusters(clusters: pd.DataFrame, prototypes: pd.DataFrame, title: str) -> Figure:
    """One row of panels for all variants of a cohort.

    Parameters
    ----------
    clusters : DataFrame
        One row a variant; see `mirror.interpretation.clustering.COLUMNS`.
    prototypes : DataFrame
        One row a used prototype: variant, use.
    title : str
    """
    if clusters.empty:
        return empty_figure("no variant was trained with style clustering")
    figure, (used, agree, stable, curve) = grid_of(4, width=3.0, height=2.8, columns=4)
    _pairs(used, clusters, "perplexity_slide", "perplexity_rna", ("slide", "RNA"))
    used.set_title("Prototypes in effective use")
    _pairs(agree, clusters, "agreement", "agreement_chance", ("slide and RNA", "permuted pairs"))
    agree.set_title("On the same prototype")
    _pairs(stable, clusters, "stability_slide", "stability_rna", ("slide", "RNA"))
    stable.set_title("Stability over folds (ARI)")
    for i, (variant, rows) in enumerate(prototypes.groupby("variant", sort=False)):
        shares = np.sort(rows["use"].to_numpy(float))[::-1][:SHOWN]
        curve.plot(np.arange(1, len(shares) + 1), shares, marker="o", ms=3, color=colour(i), label=method_name(variant))
    curve.set_title("Share of slides by prototype")
    curve.set_xlabel("Prototype, by use")
    curve.set_ylim(0, None)
    curve.xaxis.set_major_locator(MaxNLocator(integer=True))
    curve.legend(fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure
