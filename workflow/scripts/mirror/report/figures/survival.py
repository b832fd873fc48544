"""Kaplan-Meier by predicted risk, and the time-dependent AUC."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sksurv.nonparametric import kaplan_meier_estimator

from ...plan.targets import SHORT
from ..display_names import DAYS_A_YEAR, FULL, HEADS, method_order
from .classification import label_of
from .request import Request
from .style import LINES, colour, empty_figure, grid_of, save_figure

GROUPS = ("low", "high")


NO_P = "no log-rank p: the groups come\nfrom cross-validated models"


def kaplan_meier(rows: pd.DataFrame, title: str, note: str = NO_P) -> Figure:
    """Survival of the patients predicted to be at low and at high risk.

    Parameters
    ----------
    rows : DataFrame
        ``time_days, event, risk_group``, one row per patient; groups by the training median of each
        fold. Where there are repeats or draws, a patient's group is the one given most often.
    title : str
    note : str
        What stands in the corner about the difference of the groups. The nominal log-rank p never does: for
        groups by cross-validated models it is too small.

    Returns
    -------
    Figure
        Curves with 95 % log-log confidence bands (over patients), and numbers at risk.
    """
    people = rows.groupby("patient_id").agg(
        time=("time_days", "first"), event=("event", "first"), group=("risk_group", lambda g: g.mode().iloc[0])
    )
    if people.empty:
        return empty_figure("no survival predictions")
    figure, axes = grid_of(2, width=4.6, height=3.6, columns=1, sharex=True, gridspec_kw={"height_ratios": [4.5, 1]})
    figure.set_size_inches(4.8, 4.2)
    panel, table = axes
    years = people["time"] / DAYS_A_YEAR
    ticks = np.arange(0, np.ceil(years.max()) + 1, max(1, int(np.ceil(years.max() / 8))))
    present = [g for g in GROUPS if (people["group"] == g).any()]
    for number, group in enumerate(present):
        some = people[people["group"] == group]
        event = some["event"].to_numpy().astype(bool)
        if event.any():
            t, s, band = kaplan_meier_estimator(event, some["time"] / DAYS_A_YEAR, conf_type="log-log")
        else:
            t, s, band = np.array([some["time"].max() / DAYS_A_YEAR]), np.ones(1), None
        t, s = np.r_[0, t], np.r_[1, s]
        shade = colour(GROUPS.index(group))
        panel.step(
            t, s, where="post", color=shade, lw=1.8, label=f"{group} risk (n = {len(some)}, {int(event.sum())} events)"
        )
        if band is not None:
            low, high = (np.r_[1, b] for b in band)
            panel.fill_between(t, low, high, step="post", color=shade, alpha=0.15, lw=0)
        censored = some.loc[~event, "time"] / DAYS_A_YEAR
        height = [s[np.searchsorted(t, c, side="right") - 1] for c in censored]
        panel.plot(censored, height, "|", color=shade, ms=5)
        for tick in ticks:
            at_risk = int((some["time"] / DAYS_A_YEAR >= tick).sum())
            table.text(tick, len(present) - 1 - number, str(at_risk), ha="center", va="center", color=shade, fontsize=8)
    if note:
        panel.text(0.97, 0.97, note, transform=panel.transAxes, ha="right", va="top", fontsize=7)
    panel.set(ylim=(-0.02, 1.03), ylabel="Survival", title=title, xticks=ticks)
    panel.legend(loc="lower left")
    edge = 0.035 * ticks[-1]
    table.set(
        ylim=(-0.6, len(present) - 0.4), yticks=range(len(present)), xlabel="Years", xlim=(-edge, ticks[-1] + edge)
    )
    table.set_yticklabels([f"{g} risk" for g in present[::-1]])
    table.set_title("Number at risk", fontsize=8, loc="left")
    table.spines[:].set_visible(False)
    table.tick_params(length=0)
    return figure


def time_dependent_auc(metrics: pd.DataFrame) -> Figure:
    """Cumulative/dynamic AUC at each horizon with 95 % intervals.

    Parameters
    ----------
    metrics : DataFrame
        Rows of one cohort and scheme whose metric is ``auc_{days}d``; pooled values.
    """
    some = metrics[metrics["metric"].str.fullmatch(r"auc_\d+d") & (metrics["fold"].astype(str) == "pooled")]
    if some.empty:
        return empty_figure("no time-dependent AUC: too few patients under observation at the horizons")
    years = some["metric"].str.extract(r"(\d+)", expand=False).astype(float) / DAYS_A_YEAR
    some = some.assign(years=years).sort_values("years")
    truth = some[some["method"] == "ceiling"]
    groups = list(some[some["method"] != "ceiling"].groupby(["method", "modality"], sort=False))
    groups.sort(key=lambda item: (method_order(item[0][0]), item[0][1]))
    if not groups:
        return empty_figure("no method has a time-dependent AUC")
    figure, axes = grid_of(len(groups), width=2.6, height=2.3, columns=3, sharex=True, sharey=True)
    handles: dict[str, object] = {}
    # One look a head in all panels, so that the legend is true of each; heads without a name are grey.
    named = [head for head in HEADS if HEADS[head] and head in set(some["head"])]
    for panel, ((method, modality), rows) in zip(axes, groups, strict=True):
        heads = list(rows.groupby("head", sort=True))
        for number, (head, one) in enumerate(heads):
            shift = 0.06 * (number - (len(heads) - 1) / 2)
            error = np.maximum([one["value"] - one["ci_low"], one["ci_high"] - one["value"]], 0)
            place = named.index(head) if head in named else None
            line, shade = ("-", "0.3") if place is None else (LINES[place % len(LINES)], colour(place))
            words = None if place is None else HEADS[head]
            style: dict[str, Any] = {
                "ms": 4,
                "lw": 1.2,
                "elinewidth": 0.9,
                "capsize": 2,
                "color": shade,
                "label": words,
            }
            panel.errorbar(one["years"] + shift, one["value"], error, fmt="o" + line, **style)
        if len(truth):
            panel.plot(truth["years"], truth["value"], ls=":", color="0.35", lw=1.2, label="true factors (ceiling)")
        panel.axhline(0.5, color="0.8", lw=0.8, zorder=0)
        panel.set_title(label_of(method, modality), fontsize=8)
        handles |= dict(zip(*panel.get_legend_handles_labels()[::-1], strict=True))
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3, fontsize=8)  # type: ignore[call-overload]
    n, events = int(some["n"].max()), pd.to_numeric(some["events"], errors="coerce").max()
    size = f"n = {n} patients" + ("" if pd.isna(events) else f", {int(events)} events")
    figure.supxlabel(f"Years ({size})", fontsize=9)
    figure.supylabel("Time-dependent AUC", fontsize=9)
    return figure


def collect(files: Sequence[Path]) -> dict[tuple[str, str, str], pd.DataFrame]:
    """Rows by (method, modality, head), in the tables' order: variants by their fused embedding where they have one."""
    drawn = {}
    for file in files:
        rows = pd.read_parquet(file)
        rows = rows[rows["protocol"].isin(FULL)].fillna({"head": ""})
        for key, some in rows.groupby(["method", "modality", "head"], sort=True):
            drawn[key] = some
    variants = {m for m, modality, _ in drawn if modality == "fused"}
    kept = [k for k in drawn if k[0] not in variants or k[1] == "fused"]
    return {k: drawn[k] for k in sorted(kept, key=lambda k: (method_order(k[0]), k[1:]))}


def draw(request: Request) -> dict[str, Figure]:
    """Kaplan-Meier and time-dependent AUC of a survival target, by name.

    The Kaplan-Meier figure is MIRROR's (the last method but the ceiling); every other method's is saved beside it.
    """
    drawn, target = collect(request.predictions), request.target["name"]
    methods = [k for k in drawn if k[1] != "truth"]
    fused = [k for k in methods if k[1] == "fused"]
    chosen = (fused or methods)[-1] if methods else None
    nobody = pd.DataFrame(columns=["patient_id", "time_days", "event", "risk_group"])
    out = {"km": kaplan_meier(nobody, "")} if chosen is None else {}
    for key in drawn:
        method, modality, head = key
        text = label_of(method, modality) + (f", {HEADS[head]}" if HEADS.get(head) else "")
        figure = kaplan_meier(drawn[key], text)
        if key == chosen:
            out["km"] = figure
        else:
            name = "" if target in SHORT else target
            save_figure(figure, request.folder / f"{'_'.join(filter(None, [name, 'km', method, modality, head]))}.png")
    table = pd.read_csv(request.metrics, sep="\t", dtype={"fold": str}).fillna({"head": ""})
    mine = (
        (table["cohort"] == request.names["cohort"])
        & (table["scheme"] == request.names["scheme"])
        & table["encoder"].isin([request.names["encoder"], "none"])
        & (table["task"] == target)
        & table["protocol"].isin(FULL)
    )
    both = table[mine]
    variants = set(both.loc[both["modality"] == "fused", "method"])
    both = both[~both["method"].isin(variants) | (both["modality"] == "fused")]
    return out | {"auc": time_dependent_auc(both)}
