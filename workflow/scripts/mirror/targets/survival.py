"""Survival targets: follow-up time and event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..core.protocols import is_fewshot
from ..heads.hazards import assign_bins, time_bins
from ..heads.scaling import PLAIN, Scaling
from ..heads.survival import HEADS, SurvivalPrediction, outcome, penalties
from ..metrics.survival import FoldRisks, ranking_of_risks, survival_metrics
from .kind import COLUMN, Kind, Scoring, refitted_predictions
from .registry import kind

TIME_GROUPS = 3


def outcome_of(table: pd.DataFrame) -> np.ndarray:
    """Follow-up times and events of rows of the patients table (see `mirror.heads.survival.outcome`)."""
    return outcome(table["time_days"].to_numpy(float), table["event"].to_numpy(float))


def survival_rows(
    patients: Sequence[str],
    time: np.ndarray,
    event: np.ndarray,
    risk: np.ndarray,
    threshold: float,
    survival_times: np.ndarray,
    survival: np.ndarray,
) -> pd.DataFrame:
    """Rows of one fold's survival predictions: one risk per patient.

    Parameters
    ----------
    patients : sequence of str, length n
    time, event, risk : ndarray, shape (n,)
        Follow-up in days, 1 for an event, and the risk (larger is worse).
    threshold : float
        Median risk of the training patients; a risk above it is the group "high".
    survival_times : ndarray of float, shape (T,)
        Days; may be empty where a model gives no survival function.
    survival : ndarray of float, shape (n, T)
        Probability of surviving beyond each time.
    """
    if not (np.isfinite(risk).all() and np.isfinite(survival).all()):
        raise ValueError("a predicted risk or survival probability is not finite")
    return pd.DataFrame(
        {
            "patient_id": list(patients),
            "time_days": np.asarray(time, dtype=np.float64),
            "event": np.asarray(event, dtype=np.int64),
            "risk": np.asarray(risk, dtype=np.float64),
            "risk_group": np.where(np.asarray(risk) > threshold, "high", "low"),
            "survival_times": [np.asarray(survival_times, dtype=np.float64)] * len(patients),
            "survival": list(np.asarray(survival, dtype=np.float64)),
        }
    )


def survival_groups(time: np.ndarray, event: np.ndarray, bins: int) -> np.ndarray:
    """Time bin and event of training patients, for k-shot draws: int64 (n,).

    Bins lie at quantiles of the event times. Events are a stratum of their own: drawn by time alone, most
    draws of a cohort with few deaths hold too few of them for any model.
    """
    return assign_bins(time, time_bins(time, event, bins)) * 2 + (np.asarray(event) == 1)


def time_groups(time: np.ndarray, events: np.ndarray) -> np.ndarray:
    """Time tertile (0, 1, 2) of each patient among those with the same event ("0", "1"); -1 where unknown.

    Used to balance folds only; no model ever sees these cuts.
    """
    groups = np.full(len(time), -1)
    for event in ("0", "1"):
        rows = events == event
        if rows.sum() >= TIME_GROUPS:
            cuts = np.quantile(time[rows], np.linspace(0, 1, TIME_GROUPS + 1)[1:-1])
            groups[rows] = np.searchsorted(cuts, time[rows], side="left")
    return groups


@kind(
    "survival",
    section="Survival",
    primary="c_index",
    chance=0.5,
    metrics=("c_index", "c_index_uno", "auc_mean", "ibs"),
    more=("auc_at_horizons",),
    more_title="AUC at the horizons",
    few_note="{k} training patients per time bin, half with an event and half without, drawn without replacement, the "
    "same for every method. Events per draw: mean over folds and draws.",
    few=("c_index", "c_index_uno", "auc_mean", "training_events"),
    figures={
        "km": "Kaplan-Meier",
        "auc": "time-dependent AUC",
        "km_stage": "risk within stage",
        "net_benefit": "decision curves",
        "risk_calibration": "calibration at the horizons",
    },
    draw="mirror.report.figures.risk:draw",
    settings=("endpoint", "time", "event", "time_unit", "event_is"),
)
class Survival(Kind):
    """Discrete-time hazards and ridge Cox; concordance, time-dependent AUC, Brier score."""

    outcome: Mapping[str, type] = {"time_days": float, "event": float}
    columns = ("time_days", "event", "risk", "risk_group", "survival_times", "survival")
    lack = "no event indicator, or no follow-up time above 0"

    def usable(self, patients: pd.DataFrame) -> pd.Series:
        """See `Kind.usable`."""
        time = pd.to_numeric(patients["time_days"], errors="coerce")
        event = pd.to_numeric(patients["event"], errors="coerce")
        return (time > 0) & event.isin([0, 1])

    def counts(self, known: pd.DataFrame) -> str:
        """See `Kind.counts`."""
        return f"{len(known)} patients, {int(known['event'].sum())} events"

    def y(self, table: pd.DataFrame) -> np.ndarray:
        """See `outcome_of`."""
        return outcome_of(table)

    def strata(self, table: pd.DataFrame) -> np.ndarray:
        """Event and time tertile."""
        known = self.usable(table).to_numpy()
        event = np.where(known, np.where(table["event"].to_numpy(float) > 0, "1", "0"), "")
        group = time_groups(table["time_days"].to_numpy(float), event)
        return np.where(known, np.char.add(np.where(event == "1", "event ", "no event "), group.astype(str)), "")

    def shots(self, table: pd.DataFrame, k: int, settings: EvaluationSettings) -> tuple[np.ndarray, int]:
        """Half of a time bin's patients with an event, half without."""
        time, event = table["time_days"].to_numpy(float), table["event"].to_numpy(float)
        return survival_groups(time, event, settings.survival.bins), -(-k // 2)

    def heads(self, settings: EvaluationSettings) -> list[str]:
        """See `Kind.heads`."""
        return list(settings.survival.models)

    def head(self, name: str, settings: EvaluationSettings, seed: int, scaling: Scaling = PLAIN) -> Any:
        """See `Kind.head`."""
        return HEADS[name](settings.survival, settings.probe, seed, scaling)

    def grid(self, head: str, settings: EvaluationSettings) -> list[float]:
        """See `Kind.grid`."""
        return penalties(head, settings.survival, settings.probe)

    def rows(self, prediction: SurvivalPrediction, table: pd.DataFrame) -> pd.DataFrame:
        """See `survival_rows`."""
        known = outcome_of(table)
        risks = (prediction.risk, prediction.threshold, prediction.times, prediction.survival)
        return survival_rows(table.index, known["time"], known["event"], *risks)

    def average(self, predictions: Sequence[Any], scales: Mapping[str, Any] | None) -> SurvivalPrediction:
        """Mean of the risks, each standardised by ``scales`` (mean, sd, threshold), and of the survival curves."""
        assert scales is not None
        standard = zip([p.risk for p in predictions], scales["mean"], scales["sd"], strict=True)
        risk = np.mean([(r - mean) / sd for r, mean, sd in standard], axis=0)
        curves = np.mean([p.survival for p in predictions], axis=0)
        return SurvivalPrediction(risk, scales["threshold"], predictions[0].times, curves)

    def _folds(self, part: pd.DataFrame, scoring: Scoring) -> list[FoldRisks]:
        """The folds of some rows, by repeat and fold."""
        folds = []
        for (repeat, fold), rows in part.groupby(["repeat", "fold"], sort=True):
            # Without splits (transfer to another cohort) the evaluated patients give the censoring weights.
            censoring = scoring.censoring.get((repeat, fold), scoring.everyone)
            folds.append(
                FoldRisks(
                    rows[COLUMN].to_numpy(),
                    rows["time_days"].to_numpy(float),
                    rows["event"].to_numpy(int),
                    rows["risk"].to_numpy(float),
                    rows["survival_times"].iloc[0],
                    np.stack(list(rows["survival"])),
                    censoring,  # type: ignore[arg-type]
                )
            )
        return folds

    def score(self, part: pd.DataFrame, weights: np.ndarray, scoring: Scoring) -> tuple[dict[str, np.ndarray], dict]:
        """See `Kind.score`."""
        return survival_metrics(self._folds(part, scoring), weights, scoring.settings.survival.horizons_days)

    def refit_metrics(self, part: pd.DataFrame, scoring: Scoring) -> Mapping[str, np.ndarray] | None:
        """See `Kind.refit_metrics`."""
        parts = [rows for _, rows in part.groupby(["repeat", "fold"], sort=True)]
        risks = [refitted_predictions(rows) for rows in parts]
        if any(r is None for r in risks) or len({r.shape[1] for r in risks if r is not None}) != 1:
            return None
        columns = [np.asarray(r, dtype=float).T for r in risks]
        return ranking_of_risks(self._folds(part, scoring), columns, scoring.settings.survival.horizons_days)

    def events(self, table: pd.DataFrame) -> int | None:
        """See `Kind.events`."""
        return int(table["event"].sum())

    def facts(self, part: pd.DataFrame, protocol: str) -> dict[str, float]:
        """Mean number of events that a few-shot set holds."""
        if is_fewshot(protocol) and "train_events" in part and part["train_events"].notna().any():
            draws = part.drop_duplicates(["repeat", "fold", "draw"])
            return {"training_events": float(draws["train_events"].mean())}
        return {}
