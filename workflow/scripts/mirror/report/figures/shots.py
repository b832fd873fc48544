"""Learning curve: a metric against the number of shots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.protocols import shots_of
from ...core.reserved import CEILING, NO_ENCODER
from ...metrics.names import TRAINING_PATIENTS
from ..display_names import FULL, HEADS, MODALITIES, method_name, method_order, metric_name
from .style import colour, empty_figure, grid_of, line

MARKERS = "osD^vP*X"
ROW = ["method", "modality", "head"]
GAP = 1.3
"""Distance of the full-data values from the largest number of shots, in steps between two numbers of shots."""
DODGE = 0.045


def curve_rows(metrics: pd.DataFrame, names: dict[str, str], metric: str) -> pd.DataFrame:
    """Pooled rows of a metric with the number of shots ``k``, and infinity for all training patients.

    Parameters
    ----------
    metrics : DataFrame
        As written by compute_metrics.
    names : dict
        cohort, encoder, scheme, task.
    metric : str

    Returns
    -------
    DataFrame
        The pre-declared row of each method in each protocol; only methods that have few-shot rows.
    """
    here = (
        (metrics["cohort"] == names["cohort"])
        & (metrics["scheme"] == names["scheme"])
        & metrics["encoder"].isin([names["encoder"], NO_ENCODER])
        & (metrics["task"] == names["task"])
        & (metrics["fold"].astype(str) == "pooled")
        & (metrics["metric"] == metric)
        & (metrics["method"] != CEILING)
        & (metrics["declared"].astype(str) == "True")
    )
    some = metrics[here].fillna({"head": ""})
    # Fine-tuned models are methods of their own: they have no few-shot rows and fall out below.
    k = np.array([shots_of(p) or (np.inf if p in FULL else np.nan) for p in some["protocol"]], dtype=float)
    some = some.assign(k=k).dropna(subset=["k"])
    few = set(some.loc[np.isfinite(some["k"]), "method"])
    return some[some["method"].isin(few)]


def learning_curve(
    metrics: pd.DataFrame, names: dict[str, str], metric: str, title: str, chance: float | None = None
) -> Figure:
    """One line per method: the metric with its interval against the number of shots, and with all training patients.

    Parameters
    ----------
    metrics, names, metric
        See `curve_rows`.
    title : str
    chance : float, optional
        The metric without any information.

    Returns
    -------
    Figure
        Numbers of shots stand at equal distances; below each, the mean number of training patients (and events).
        More than eight methods are drawn in two panels, baselines and pre-trained models.
    """
    rows = curve_rows(metrics, names, metric)
    if rows.empty:
        return empty_figure("no few-shot rows: no learning curve")
    ks = sorted(k for k in rows["k"].unique() if np.isfinite(k))
    place = {k: float(i) for i, k in enumerate(ks)} | {np.inf: len(ks) - 1 + GAP}
    methods = sorted(rows["method"].unique(), key=method_order)
    trained = {m for m in methods if (rows.loc[rows["method"] == m, "protocol"] == "linear").any()}
    groups = [methods]
    if len(methods) > len(MARKERS) and 0 < len(trained) < len(methods):
        groups = [[m for m in methods if m not in trained], [m for m in methods if m in trained]]
    figure, axes = grid_of(len(groups), width=1.9 + 0.75 * (len(ks) + GAP), height=3.6, columns=2, sharey=True)
    for panel, own in zip(axes, groups, strict=True):
        _lines(panel, rows[rows["method"].isin(own)], own, place)
        if chance is not None:
            panel.axhline(chance, color="0.8", lw=0.8, zorder=0)
        panel.axvline(place[np.inf] - GAP / 2, color="0.85", lw=0.8, zorder=0)
        panel.set(xticks=list(place.values()), xlim=(-0.4, place[np.inf] + 0.4))
        panel.set_xticklabels([*(_tick(k, metrics, names) for k in ks), "all"], fontsize=7)
        handles, texts = panel.get_legend_handles_labels()
        panel.legend(handles, texts, loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=2, fontsize=7)
    axes[0].set_ylabel(metric_name(metric))
    n, events = int(rows["n"].max()), pd.to_numeric(rows["events"], errors="coerce").max()
    size = f"n = {n}" + ("" if pd.isna(events) else f", {int(events)} events")
    axes[0].set_title(f"{title} ({size})", loc="left", fontsize=9)
    for panel in axes:
        panel.set_xlabel("Shots (below: mean number of training patients)", fontsize=8)
    return figure


def _lines(panel: Axes, rows: pd.DataFrame, methods: list[str], place: dict[float, float]) -> None:
    for number, method in enumerate(methods):
        one = rows[rows["method"] == method].sort_values("k").drop_duplicates("k")
        few, full = one[np.isfinite(one["k"])], one[~np.isfinite(one["k"])]
        shift = DODGE * (number - (len(methods) - 1) / 2)
        last = one.iloc[0]
        what = ", ".join(filter(None, [MODALITIES.get(last["modality"], last["modality"]), HEADS.get(last["head"])]))
        style: dict[str, Any] = {"color": colour(number), "ms": 3.5, "marker": MARKERS[number % len(MARKERS)]}
        bars: dict[str, Any] = {"elinewidth": 0.8, "capsize": 1.5}
        x = few["k"].map(place).to_numpy(float) + shift
        label = f"{method_name(method)} ({what})"
        panel.errorbar(x, few["value"], _error(few), ls=line(number), lw=1.3, label=label, **style, **bars)
        if len(full):
            at = full["k"].map(place).to_numpy(float) + shift
            panel.errorbar(at, full["value"], _error(full), ls="", mfc="white", **style, **bars)
            panel.axhline(full["value"].iloc[0], color=colour(number), lw=0.6, ls=":", alpha=0.7, zorder=0)


def _error(rows: pd.DataFrame) -> np.ndarray:
    value = rows["value"].to_numpy(float)
    ends = [value - rows["ci_low"].to_numpy(float), rows["ci_high"].to_numpy(float) - value]
    return np.nan_to_num(np.maximum(ends, 0))


def _tick(k: float, metrics: pd.DataFrame, names: dict[str, str]) -> str:
    """The number of shots with the mean size of its training sets: the largest of any method."""
    here = metrics[
        (metrics["cohort"] == names["cohort"])
        & (metrics["scheme"] == names["scheme"])
        & (metrics["task"] == names["task"])
        & (metrics["protocol"].map(shots_of) == k)
    ]
    patients, events = (
        here.loc[here["metric"] == name, "value"].max() for name in (TRAINING_PATIENTS, "training_events")
    )
    text = f"{k:.0f}"
    if pd.notna(patients):
        text += f"\n{patients:.0f}"
    return text if pd.isna(events) else f"{text}\n({events:.0f} events)"
