"""All predictions of a run -> metrics by fold, pooled metrics with intervals, comparisons."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..core.folds import fold_name
from ..heads.survival import penalties
from ..io.predictions import KEYS, Names, read_all
from ..metrics.classification import align_classes, metrics_of_models, subtyping_metrics
from ..metrics.names import PATIENTS_ONLY, WITHOUT_INTERVAL
from ..metrics.retrieval import retrieval_metrics
from ..metrics.statistics import bootstrap_weights, percentile_interval
from ..metrics.survival import Censoring, FoldRisks, ranking_of_risks, survival_metrics
from ..plan.paths import names_in
from .compare import Entry, compare_entries, declared
from .retrieval import evaluate_retrieval
from .uncertainty import (
    TRAINED,
    add_deviations,
    bounded,
    class_refits,
    covers,
    draw_deviations,
    refitted_predictions,
    widen,
)

log = logging.getLogger(__name__)

POOLED = "pooled"
COLUMN = "_column"
"""Place of a row's patient in the bootstrap weights."""
METRIC_COLUMNS = [
    *("cohort", "encoder", "scheme", "method", "task", "protocol", "modality", "head", "seed", "repeat", "fold"),
    *("draw", "metric", "value", "ci_low", "ci_high", "n", "events", "covers", "declared"),
]
SCHEME = ["cohort", "scheme"]
BLOCK_ELEMENTS = 4_000_000
"""Weights (resamples x patients) handled at once, so that memory stays bounded for large cohorts."""


@dataclass(frozen=True)
class MetricTables:
    """What `compute_metrics` returns.

    Attributes
    ----------
    metrics : DataFrame
        Long form, `METRIC_COLUMNS`. Rows of a fold have no interval; pooled rows have fold
        "pooled", repeat and draw -1, and the mean over repeats and draws; ``covers`` says what their
        interval covers beside the test patients (`mirror.evaluation.uncertainty`), ``declared`` whether they
        are the method's row in the family of tests.
    comparisons : DataFrame
        See `mirror.evaluation.compare`.
    notes : DataFrame
        Metrics that were left out: the keys, repeat, fold, draw, metric, reason.
    """

    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    notes: pd.DataFrame


@dataclass
class _Context:
    """What the groups of one cohort and scheme share."""

    weights: np.ndarray
    censoring: dict[tuple[int, int], Censoring]
    test_share: float
    settings: EvaluationSettings
    everyone: Censoring | None = None
    rows: list[dict] = field(default_factory=list)
    notes: list[dict] = field(default_factory=list)


def _prepare(
    part: pd.DataFrame, patients: pd.DataFrame | None, splits: pd.DataFrame | None, settings: EvaluationSettings
) -> _Context:
    known = int(part[COLUMN].max()) + 1
    seed = int(part["seed"].min())
    weights = bootstrap_weights(known, settings.statistics.bootstrap, seed)
    censoring, shares, everyone = {}, [], None
    if "time_days" in part:
        rows = part.drop_duplicates("patient_id")
        everyone = Censoring.fit(rows["time_days"].to_numpy(float), rows["event"].to_numpy())
    if splits is not None:
        for (repeat, fold), rows in splits.groupby(["repeat", "fold"]):
            count = rows["set"].value_counts()
            shares.append(count.get("test", 0) / max(1, count.get("train", 0)))
            if patients is not None and "time_days" in part:
                train = patients.reindex(rows.loc[rows["set"] == "train", "patient_id"])
                train = train[(train["time_days"] > 0) & train["event"].isin([0, 1])]
                if len(train):
                    censoring[repeat, fold] = Censoring.fit(train["time_days"].to_numpy(float), train["event"])
    share = float(np.mean(shares)) if shares else 0.25
    return _Context(weights, censoring, share, settings, everyone)


def _fold_risks(part: pd.DataFrame, context: _Context) -> list[FoldRisks]:
    """The folds of some survival rows, by repeat and fold."""
    folds = []
    for (repeat, fold), rows in part.groupby(["repeat", "fold"], sort=True):
        # Without splits (transfer to another cohort) the evaluated patients give the censoring weights.
        censoring = context.censoring.get((repeat, fold), context.everyone)
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


def _score(task: str, part: pd.DataFrame, weights: np.ndarray, context: _Context):
    """Metrics of some rows (one fold, or all folds of a replicate): values (R,) and what was left out."""
    if task == "survival":
        folds = _fold_risks(part, context)
        return survival_metrics(folds, weights, context.settings.survival.horizons_days)
    w = weights[:, part[COLUMN].to_numpy()].astype(np.float64)
    if task == "retrieval":
        return retrieval_metrics(part["rank"].to_numpy(float), w), {}
    truth, p, names = align_classes(part["y_true"].to_numpy(str), list(part["classes"]), list(part["probabilities"]))
    found = subtyping_metrics(truth, p, w, _models(part))
    left_out = {}
    for name in [name for name, values in found.items() if not np.isfinite(values[0])]:
        del found[name]
        left_out[name] = f"only {names[truth[0]]} among the patients" if len(set(truth)) == 1 else "not defined"
    return found, left_out


def _models(part: pd.DataFrame) -> np.ndarray:
    """The model of each row: one per fold."""
    return part.groupby(["repeat", "fold"]).ngroup().to_numpy()


def _refit_deviations(task: str, part: pd.DataFrame, context: _Context) -> dict[str, np.ndarray] | None:
    """Every metric of one replicate by each of the refits, (B,); None where the head was not refitted."""
    if task == "survival":
        parts = [rows for _, rows in part.groupby(["repeat", "fold"], sort=True)]
        risks = [refitted_predictions(rows) for rows in parts]
        if any(r is None for r in risks) or len({r.shape[1] for r in risks if r is not None}) != 1:
            return None
        folds = _fold_risks(part, context)
        columns = [np.asarray(r, dtype=float).T for r in risks]
        return ranking_of_risks(folds, columns, context.settings.survival.horizons_days)
    truth, _, names = align_classes(part["y_true"].to_numpy(str), list(part["classes"]), list(part["probabilities"]))
    refits = class_refits(part, names)
    if refits is None:
        return None
    return metrics_of_models(truth, refits, _models(part))


def _blocks(task: str, part: pd.DataFrame, context: _Context):
    """`_score` over blocks of resamples."""
    step = max(1, BLOCK_ELEMENTS // max(1, len(part)))
    first, left_out = _score(task, part, context.weights[:step], context)
    for start in range(step, len(context.weights), step):
        more, _ = _score(task, part, np.vstack([context.weights[:1], context.weights[start : start + step]]), context)
        first = {name: np.r_[values, more[name][1:]] for name, values in first.items()}
    return first, left_out


def _counts(task: str, part: pd.DataFrame) -> dict:
    patients = part.drop_duplicates("patient_id")
    return {"n": len(patients), "events": int(patients["event"].sum()) if task == "survival" else None}


def _note(context: _Context, keys: dict, repeat, fold, draw, left_out: Mapping[str, str]) -> None:
    for metric, reason in left_out.items():
        context.notes.append({**keys, "repeat": repeat, "fold": fold, "draw": draw, "metric": metric, "reason": reason})


def _facts(task: str, part: pd.DataFrame, protocol: str) -> dict[str, float]:
    """What the reader of a row must know beside its metrics."""
    if task == "subtyping":
        shares = part.drop_duplicates("patient_id")["y_true"].value_counts(normalize=True)
        return {"majority_share": float(shares.iloc[0])}
    if protocol == "fewshot" and "train_events" in part and part["train_events"].notna().any():
        draws = part.drop_duplicates(["repeat", "fold", "draw"])
        return {"training_events": float(draws["train_events"].mean())}
    return {}


def _group(keys: dict, part: pd.DataFrame, context: _Context) -> Entry | None:
    """Rows of one method, protocol, modality and head; None where the target has one class alone."""
    task, level = keys["task"], context.settings.statistics.level
    if task == "subtyping" and part["y_true"].nunique() < 2:
        reason = f"all patients are {part['y_true'].iloc[0]}: a cohort of one label has no subtyping"
        _note(context, {**keys, "seed": part["seed"].iloc[0]}, -1, POOLED, -1, {"all": reason})
        return None
    one = np.ones((1, context.weights.shape[1]), dtype=np.float32)
    by_fold: dict[tuple, dict[str, float]] = {}
    drawn: dict[tuple[int, str], dict[tuple, tuple[int, dict[int, float]]]] = {}
    for (seed, repeat, fold, draw), rows in part.groupby(["seed", "repeat", "fold", "draw"], sort=True):
        values, left_out = _score(task, rows, one, context)
        shared = {**keys, "seed": seed, "repeat": repeat, "fold": fold, "draw": draw, **_counts(task, rows)}
        context.rows += [{**shared, "metric": name, "value": float(v[0])} for name, v in values.items()]
        if "penalty" in rows and rows["penalty"].notna().all():
            context.rows.append({**shared, "metric": "penalty", "value": float(rows["penalty"].iloc[0])})
        _note(context, {**keys, "seed": seed}, repeat, fold_name(repeat, fold), draw, left_out)
        for name, v in values.items():
            by_fold.setdefault((seed, repeat, fold), {}).setdefault(name, []).append(float(v[0]))  # type: ignore[arg-type, attr-defined]
            here = drawn.setdefault((seed, name), {}).setdefault((repeat, fold), (rows["patient_id"].nunique(), {}))
            here[1][draw] = float(v[0])
    _note_edges(keys, part, context)
    entry = Entry(keys, **_counts(task, part), rows=part, test_share=context.test_share)
    entry.by_fold = {key: {name: float(np.mean(v)) for name, v in found.items()} for key, found in by_fold.items()}
    gathered: dict[str, list[np.ndarray]] = {}
    for seed, of_seed in part.groupby("seed", sort=True):
        shared = {**keys, "seed": seed, "repeat": -1, "fold": POOLED, "draw": -1, **_counts(task, of_seed)}
        pooled, moved = _replicates(task, keys["protocol"], of_seed, context)
        for name, arrays in pooled.items():
            values = np.mean(arrays, axis=0)
            draws = None
            if keys["protocol"] == "fewshot":
                draws = draw_deviations(drawn.get((seed, name), {}), len(values) - 1, int(part["seed"].min()))
            reach = covers(keys["protocol"], task, name, name in moved, draws is not None)
            if name in moved and name not in PATIENTS_ONLY:
                values = add_deviations(values, np.mean(moved[name], axis=0))
            elif draws is not None:
                values = add_deviations(values, draws)
            elif reach == "widened":
                values = widen(values)
            gathered.setdefault(name, []).append(values)
            told = {"metric": name, "value": float(values[0])}
            if name not in WITHOUT_INTERVAL:
                interval = percentile_interval(values, level)
                low, high = bounded(name, interval.low, interval.high)
                told |= {"ci_low": low, "ci_high": high, "covers": reach}
            context.rows.append({**shared, **told})
        for name, value in _facts(task, of_seed, keys["protocol"]).items():
            context.rows.append({**shared, "metric": name, "value": value})
    entry.pooled = {name: np.mean(arrays, axis=0) for name, arrays in gathered.items()}
    return entry


def _note_edges(keys: dict, part: pd.DataFrame, context: _Context) -> None:
    """Say where a grid of penalties ended before the best one may have been met."""
    if "penalty" not in part or part["penalty"].isna().any() or keys["protocol"] == "fewshot":
        return
    settings = context.settings
    grid = penalties(keys["head"], settings.survival, settings.probe)
    chosen = part.drop_duplicates(["repeat", "fold", "draw"])["penalty"]
    ends = [C for C in (grid[0], grid[-1]) if len(grid) > 1 and (chosen == C).any()]
    if ends:
        text = " and ".join(f"C = {C:g} in {int((chosen == C).sum())} of {len(chosen)} fits" for C in ends)
        seed = part["seed"].iloc[0]
        _note(context, {**keys, "seed": seed}, -1, POOLED, -1, {"penalty": f"edge of the grid: {text}"})


def _replicates(task: str, protocol: str, part: pd.DataFrame, context: _Context):
    """Bootstrap values of every repeat and draw by metric, and their values under refits, where there are any."""
    pooled: dict[str, list[np.ndarray]] = {}
    moved: dict[str, list[np.ndarray]] = {}
    for _, rows in part.groupby(["repeat", "draw"], sort=True):
        values, left_out = _blocks(task, rows, context)
        keys = {name: rows[name].iloc[0] for name in [*KEYS, "seed"]}
        _note(context, keys, -1, POOLED, -1, left_out)
        for name, v in values.items():
            pooled.setdefault(name, []).append(v)
        if protocol in TRAINED and task in ("subtyping", "survival"):
            for name, v in (_refit_deviations(task, rows, context) or {}).items():
                moved.setdefault(name, []).append(v)
    whole = {name for name in moved if len(moved[name]) == len(pooled.get(name, []))}
    return pooled, {name: moved[name] for name in whole}


def score_predictions(
    predictions: Mapping[str, pd.DataFrame],
    patients: Mapping[str, pd.DataFrame],
    splits: Mapping[tuple[str, str], pd.DataFrame],
    settings: EvaluationSettings,
) -> MetricTables:
    """Score prediction tables.

    Parameters
    ----------
    predictions : mapping of task to DataFrame
        See `mirror.io.predictions`.
    patients : mapping of cohort to DataFrame
        Indexed by patient_id; survival needs ``time_days`` and ``event``.
    splits : mapping of (cohort, scheme) to DataFrame
    settings : EvaluationSettings

    Returns
    -------
    MetricTables
    """
    rows, notes, comparisons = [], [], []
    for task, frame in predictions.items():
        # The weights are drawn once per cohort, scheme and task: resample r is the same patients for every method.
        for scheme, part in frame.groupby(SCHEME, sort=True):
            part = part.assign(**{COLUMN: pd.factorize(part["patient_id"], sort=True)[0]})
            context = _prepare(part, patients.get(scheme[0]), splits.get(scheme), settings)
            entries = []
            for key, group in part.groupby(KEYS, sort=True):
                entry = _group(dict(zip(KEYS, key, strict=True)), group, context)
                entries += [] if entry is None else [entry]
            chosen = {tuple(entry.keys[name] for name in KEYS) for entry in declared(entries, settings.survival.models)}
            for row in context.rows:
                row["declared"] = row["fold"] == POOLED and tuple(row[name] for name in KEYS) in chosen
            comparisons.append(compare_entries(task, entries, settings.statistics.level, settings.survival.models))
            rows += context.rows
            notes += context.notes
    metrics = pd.DataFrame(rows).reindex(columns=METRIC_COLUMNS)
    undefined = metrics["value"].isna()
    for row in metrics[undefined].to_dict("records"):  # said and left out: nothing that was trained is lost for it
        notes.append({**row, "reason": "not a number"})
    metrics = metrics[~undefined].reset_index(drop=True)
    metrics["events"] = metrics["events"].astype("Int64")
    columns = [*KEYS, "seed", "repeat", "fold", "draw", "metric", "reason"]
    reasons = pd.DataFrame(notes, columns=columns).drop_duplicates().reset_index(drop=True)
    compared = [table for table in comparisons if len(table)]
    joined = pd.concat(compared, ignore_index=True) if compared else compare_entries("", [], 0.95)
    return MetricTables(metrics, joined, reasons)


def compute_metrics(
    predictions: Sequence[str | Path],
    patients: Mapping[str, pd.DataFrame],
    splits: Mapping[tuple[str, str], pd.DataFrame],
    settings: EvaluationSettings,
    embeddings: Sequence[str | Path] = (),
    seed: int = 0,
) -> MetricTables:
    """`score_predictions` of every prediction file of a run, and retrieval from its embeddings.

    ``embeddings`` are files of the results folder: their names are read from their paths.
    """
    tables = read_all(predictions)
    groups: dict[tuple[str, ...], list[Path]] = {}
    for path in map(Path, embeddings):
        *place, _ = names_in("embeddings", path).values()
        groups.setdefault(tuple(place), []).append(path)
    ranked = [evaluate_retrieval(files, Names(*place), seed) for place, files in groups.items()]
    ranked = [rows for rows in ranked if len(rows)]
    if ranked:
        tables["retrieval"] = pd.concat(ranked, ignore_index=True)
    return score_predictions(tables, patients, splits, settings)
