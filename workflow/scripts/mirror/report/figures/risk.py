"""Absolute risk of a survival target: within stages, net benefit, and calibration at the horizons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sksurv.nonparametric import kaplan_meier_estimator

from ...io.tables import read_patients
from ...metrics.decision import calibration_groups, net_benefit, observed_risk, risk_at
from ...metrics.statistics import bootstrap_weights
from ...plan.targets import SHORT
from ..display_names import DAYS_A_YEAR, FULL, HEADS
from .classification import label_of
from .request import Request
from .style import colour, empty_figure, grid_of, line, save_figure
from .survival import GROUPS, collect
from .survival import draw as draw_curves

MIN_EVENTS = 20
"""Events by a horizon, below which nothing is drawn for it."""
MIN_STAGE_EVENTS = 5
"""Events of a stage, below which it has no curves."""
THRESHOLDS = 60
RESAMPLES = 200
Key = tuple[str, str, str]


def declared_rows(files: Sequence[Path], metrics: pd.DataFrame, names: dict[str, str], task: str) -> dict:
    """Out-of-fold predictions of the pre-declared row of each method, by (method, modality, head)."""
    here = (
        (metrics["cohort"] == names["cohort"])
        & (metrics["scheme"] == names["scheme"])
        & (metrics["task"] == task)
        & metrics["protocol"].isin(FULL)
        & (metrics["declared"].astype(str) == "True")
    )
    rows = metrics[here].fillna({"head": ""})
    known = set(zip(rows["method"], rows["modality"], rows["head"], strict=True))
    return {key: rows for key, rows in collect(files).items() if key in known}


def absolute_risks(rows: pd.DataFrame, horizon: float) -> pd.DataFrame:
    """Time, event and predicted risk by the horizon of each patient, mean over repeats.

    Patients whose model predicts no survival at the horizon are left out.
    """
    risk = risk_at(list(rows["survival_times"]), list(rows["survival"]), horizon)
    people = rows.assign(_risk=risk).groupby("patient_id")
    found = people.agg(time=("time_days", "first"), event=("event", "first"), risk=("_risk", "mean"))
    return found[found["risk"].notna()]


def _enough(table: pd.DataFrame, horizon: float) -> bool:
    """Whether enough events happen by the horizon, and somebody is observed up to it."""
    events = ((table["event"] == 1) & (table["time"] <= horizon)).sum()
    return bool(events >= MIN_EVENTS and (table["time"] >= horizon).any())


def _called(key: Key) -> str:
    return label_of(key[0], key[1]) + (f", {HEADS[key[2]]}" if HEADS.get(key[2]) else "")


def _none(what: str) -> Figure:
    return empty_figure(f"{what}: fewer than {MIN_EVENTS} events by every horizon, or no model with absolute risks")


def decision_curves(drawn: dict[Key, pd.DataFrame], chosen: Key, horizons_days: Sequence[float], seed: int) -> Figure:
    """Net benefit against the threshold of risk, one panel per horizon.

    Parameters
    ----------
    drawn : dict
        See `declared_rows`.
    chosen : tuple
        Has a band: 95 % percentile interval over patients.
    horizons_days : sequence of float
        Those with fewer than `MIN_EVENTS` events are left out.
    seed : int
    """
    panels = []
    for horizon in horizons_days:
        tables = {key: absolute_risks(rows, horizon) for key, rows in drawn.items()}
        tables = {key: table for key, table in tables.items() if len(table) and _enough(table, horizon)}
        if tables:
            panels.append((horizon, tables))
    if not panels:
        return _none("no decision curve")
    figure, axes = grid_of(len(panels), width=3.1, height=3.0, columns=3)
    handles: dict[str, Any] = {}
    for panel, (horizon, tables) in zip(axes, panels, strict=True):
        first = tables.get(chosen, next(iter(tables.values())))
        time, event = first["time"].to_numpy(float), first["event"].to_numpy(int)
        rate = float(observed_risk(time, event, horizon)[0])
        upper = min(0.95, max(2 * rate, *(np.quantile(t["risk"], 0.95) for t in tables.values())))
        at = np.linspace(0.0, upper, THRESHOLDS + 1)[1:]
        everyone = net_benefit(time, event, np.full(len(time), np.inf), horizon, at)[0]
        panel.plot(at, everyone, color="0.45", lw=1.1, ls="--", label="treat all", zorder=4)
        panel.axhline(0, color="0.2", lw=1.0, ls=":", label="treat none")
        top = rate
        for number, (key, table) in enumerate(tables.items()):
            weights = None
            if key == chosen:
                weights = bootstrap_weights(len(table), RESAMPLES, seed).astype(float)
            values = net_benefit(
                table["time"].to_numpy(float),
                table["event"].to_numpy(int),
                table["risk"].to_numpy(),
                horizon,
                at,
                weights,
            )
            shade = colour(number)
            panel.plot(at, values[0], color=shade, ls=line(number), lw=1.3, label=_called(key))
            if weights is not None:
                known = np.isfinite(values).all(axis=0)
                low, high = np.quantile(values[1:, known], [0.025, 0.975], axis=0)
                panel.fill_between(at[known], low, high, color=shade, alpha=0.15, lw=0)
                top = max(top, high.max(initial=0.0))
        panel.set(ylim=(-0.25 * top, 1.08 * top), xlim=(0, upper), xlabel="Threshold of risk")
        dead = int(((event == 1) & (time <= horizon)).sum())
        panel.set_title(f"{horizon / DAYS_A_YEAR:.1f} years (n = {len(time)}, {dead} events)", fontsize=8)
        handles |= dict(zip(*panel.get_legend_handles_labels()[::-1], strict=True))
    axes[0].set_ylabel("Net benefit per patient")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=7)  # type: ignore[call-overload]
    return figure


def calibration_at_horizons(rows: pd.DataFrame, horizons_days: Sequence[float], title: str) -> Figure:
    """Predicted against observed risk in groups of predicted risk, one panel per horizon.

    Parameters
    ----------
    rows : DataFrame
        Out-of-fold predictions of one method.
    horizons_days : sequence of float
        Those with fewer than `MIN_EVENTS` events are left out.
    title : str
    """
    tables = [(horizon, absolute_risks(rows, horizon)) for horizon in horizons_days]
    tables = [(horizon, table) for horizon, table in tables if len(table) and _enough(table, horizon)]
    if not tables:
        return _none("no calibration")
    figure, axes = grid_of(len(tables), width=2.9, height=3.0, columns=3)
    for panel, (horizon, table) in zip(axes, tables, strict=True):
        time, event, risk = (table[c].to_numpy(float) for c in ("time", "event", "risk"))
        groups = calibration_groups(time, event, risk, horizon)
        x, y = np.array([g.predicted for g in groups]), np.array([g.observed for g in groups])
        ends = np.array([[g.low, g.high] for g in groups])
        error = np.nan_to_num(np.maximum([y - ends[:, 0], ends[:, 1] - y], 0))
        panel.errorbar(x, y, error, fmt="o-", color=colour(0), ms=4, lw=1.0, elinewidth=0.9, capsize=2)
        top = 1.08 * max(np.nanmax(ends), x.max())
        panel.plot([0, top], [0, top], color="0.6", lw=0.9, ls="--", zorder=0)
        panel.plot(
            risk[risk <= top], np.full((risk <= top).sum(), 0.015 * top), "|", color="0.4", ms=5, alpha=0.15, zorder=0
        )
        panel.set(xlim=(0, top), ylim=(0, top), xlabel="Predicted risk")
        overall = float(observed_risk(time, event, horizon)[0])
        dead = int(((event == 1) & (time <= horizon)).sum())
        panel.set_title(
            f"{horizon / DAYS_A_YEAR:.1f} years (n = {len(time)}, {dead} events)\n"
            f"mean predicted {risk.mean():.3f}, observed {overall:.3f}",
            fontsize=8,
        )
    axes[0].set_ylabel("Observed risk (Kaplan-Meier)")
    figure.suptitle(title, fontsize=9)
    return figure


def kaplan_meier_within_stage(rows: pd.DataFrame, stage: pd.Series, title: str) -> Figure:
    """Survival of the predicted risk groups, one panel per stage.

    Parameters
    ----------
    rows : DataFrame
        See `mirror.report.figures.survival.kaplan_meier`; the groups are the same, over all stages.
    stage : Series
        Stage by patient_id; missing where unknown.
    title : str
    """
    people = rows.groupby("patient_id").agg(
        time=("time_days", "first"), event=("event", "first"), group=("risk_group", lambda g: g.mode().iloc[0])
    )
    people["stage"] = stage.reindex(people.index)
    known = people[people["stage"].notna() & (people["stage"].astype(str) != "")]
    if known.empty:
        return empty_figure("no risk within stage: the clinical table has no stage of any patient")
    counts = known.groupby("stage")["event"].agg(["size", "sum"])
    shown = [
        s
        for s in counts.index
        if counts.loc[s, "sum"] >= MIN_STAGE_EVENTS and known.loc[known["stage"] == s, "group"].nunique() > 1
    ]
    if not shown:
        return empty_figure(f"no risk within stage: no stage has {MIN_STAGE_EVENTS} events and both risk groups")
    figure, axes = grid_of(len(shown), width=2.7, height=3.2, columns=4, sharey=True)
    for panel, name in zip(axes, shown, strict=True):
        some = known[known["stage"] == name]
        for group in GROUPS:
            part = some[some["group"] == group]
            event = part["event"].to_numpy() == 1
            label = f"{group} (n = {len(part)}, {int(event.sum())} events)"
            years = part["time"].to_numpy(float) / DAYS_A_YEAR
            shade = colour(GROUPS.index(group))
            if not event.any():
                panel.plot([0, years.max()], [1, 1], color=shade, lw=1.6, label=label)
                continue
            t, s, band = kaplan_meier_estimator(event, years, conf_type="log-log")
            panel.step(np.r_[0, t], np.r_[1, s], where="post", color=shade, lw=1.6, label=label)
            low, high = (np.r_[1, b] for b in band)
            panel.fill_between(np.r_[0, t], low, high, step="post", color=shade, alpha=0.15, lw=0)
        panel.set(ylim=(-0.02, 1.03), xlabel="Years")
        panel.set_title(f"Stage {name} (n = {len(some)}, {int(some['event'].sum())} events)", fontsize=8)
        panel.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=7, title="Predicted risk", title_fontsize=7
        )
    axes[0].set_ylabel("Survival")
    others = [f"{s} ({int(counts.loc[s, 'sum'])} events)" for s in counts.index if s not in shown]
    unknown = len(people) - len(known)
    left = [f"stage {', '.join(others)}"] if others else []
    left += [f"{unknown} patients of unknown stage"] if unknown else []
    figure.suptitle(title + (f"; not shown: {'; '.join(left)}" if left else ""), fontsize=9)
    return figure


def draw(request: Request) -> dict[str, Figure]:
    """All figures of a survival target by name: Kaplan-Meier, time-dependent AUC, and the three of absolute risk.

    Those of absolute risk are of the last method (MIRROR's); every other method's are saved beside them.
    """
    out, target = draw_curves(request), request.target["name"]
    metrics = pd.read_csv(request.metrics, sep="\t", dtype={"fold": str, "head": str})
    found = declared_rows(request.predictions, metrics, request.names, target)
    drawn = {key: rows for key, rows in found.items() if key[1] != "truth"}
    if not drawn:
        nothing = "no survival predictions"
        return out | {name: empty_figure(nothing) for name in ("km_stage", "net_benefit", "risk_calibration")}
    fused = [key for key in drawn if key[1] == "fused"]
    chosen = (fused or list(drawn))[-1]
    patients = read_patients(request.patients)
    stage = patients["stage"] if "stage" in patients else pd.Series(np.nan, index=patients.index)
    out["net_benefit"] = decision_curves(drawn, chosen, request.horizons_days, request.seed)
    for key, rows in drawn.items():
        figures = {
            "km_stage": kaplan_meier_within_stage(rows, stage, _called(key)),
            "risk_calibration": calibration_at_horizons(rows, request.horizons_days, _called(key)),
        }
        if key == chosen:
            out |= figures
            continue
        name = [] if target in SHORT else [target]
        for kind, figure in figures.items():
            save_figure(figure, request.folder / f"{'_'.join([*name, kind, *filter(None, key)])}.png")
    return out
