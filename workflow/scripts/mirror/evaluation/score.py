"""All predictions of a run -> metrics by fold, pooled metrics with intervals, comparisons."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..core.folds import fold_name
from ..core.protocols import is_fewshot, shots_of
from ..io.predictions import KEYS, Names, read_all
from ..metrics.names import BOOTSTRAP_BIASED, PATIENTS_ONLY, PRIMARY, TRAINING_PATIENTS, WITHOUT_INTERVAL
from ..metrics.retrieval import retrieval_metrics
from ..metrics.statistics import bootstrap_weights, percentile_interval
from ..metrics.survival import Censoring
from ..plan.paths import names_in
from ..targets.kind import COLUMN, Kind, Scoring
from ..targets.registry import Target
from .compare import TableRow, compare_entries, declared
from .retrieval import evaluate_retrieval
from .uncertainty import (
    DRAWS_WIDENED,
    REFITS_WIDENED,
    TRAINED,
    WIDENED,
    add_deviations,
    bounded,
    centre,
    covers,
    draw_deviations,
    widen,
)

log = logging.getLogger(__name__)

POOLED = "pooled"
RETRIEVAL = "retrieval"
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
    test_share: float
    settings: EvaluationSettings
    rules: Kind | None
    scoring: Scoring
    rows: list[dict] = field(default_factory=list)
    notes: list[dict] = field(default_factory=list)


def _prepare(
    part: pd.DataFrame,
    patients: pd.DataFrame | None,
    splits: pd.DataFrame | None,
    settings: EvaluationSettings,
    rules: Kind | None,
) -> _Context:
    known = int(part[COLUMN].max()) + 1
    seed = int(part["seed"].min())
    weights = bootstrap_weights(known, settings.statistics.bootstrap, seed)
    scoring, shares = Scoring(settings), []
    if "time_days" in part:
        rows = part.drop_duplicates("patient_id")
        scoring.everyone = Censoring.fit(rows["time_days"].to_numpy(float), rows["event"].to_numpy())
    if splits is not None:
        for (repeat, fold), rows in splits.groupby(["repeat", "fold"]):
            count = rows["set"].value_counts()
            shares.append(count.get("test", 0) / max(1, count.get("train", 0)))
            if patients is not None and "time_days" in part:
                train = patients.reindex(rows.loc[rows["set"] == "train", "patient_id"])
                train = train[(train["time_days"] > 0) & train["event"].isin([0, 1])]
                if len(train):
                    known_times = train["time_days"].to_numpy(float)
                    scoring.censoring[repeat, fold] = Censoring.fit(known_times, train["event"])
    share = float(np.mean(shares)) if shares else 0.25
    return _Context(weights, share, settings, rules, scoring)


def _score(part: pd.DataFrame, weights: np.ndarray, context: _Context):
    """Metrics of some rows (one fold, or all folds of a replicate): values (R,) and what was left out."""
    if context.rules is not None:
        return context.rules.score(part, weights, context.scoring)
    w = weights[:, part[COLUMN].to_numpy()].astype(np.float64)
    return retrieval_metrics(part["rank"].to_numpy(float), w), {}


def _blocks(part: pd.DataFrame, context: _Context):
    """`_score` over blocks of resamples."""
    step = max(1, BLOCK_ELEMENTS // max(1, len(part)))
    first, left_out = _score(part, context.weights[:step], context)
    for start in range(step, len(context.weights), step):
        more, _ = _score(part, np.vstack([context.weights[:1], context.weights[start : start + step]]), context)
        first = {name: np.r_[values, more[name][1:]] for name, values in first.items()}
    return first, left_out


def _counts(part: pd.DataFrame, context: _Context) -> dict:
    patients = part.drop_duplicates("patient_id")
    return {"n": len(patients), "events": None if context.rules is None else context.rules.events(patients)}


def _note(context: _Context, keys: dict, repeat, fold, draw, left_out: Mapping[str, str]) -> None:
    for metric, reason in left_out.items():
        context.notes.append({**keys, "repeat": repeat, "fold": fold, "draw": draw, "metric": metric, "reason": reason})


def _group(keys: dict, part: pd.DataFrame, context: _Context) -> TableRow | None:
    """Rows of one method, protocol, modality and head; None where the target has one class alone."""
    rules, level = context.rules, context.settings.statistics.level
    reason = "" if rules is None else rules.not_scored(part)
    if reason:
        _note(context, {**keys, "seed": part["seed"].iloc[0]}, -1, POOLED, -1, {"all": reason})
        return None
    one = np.ones((1, context.weights.shape[1]), dtype=np.float32)
    by_fold: dict[tuple, dict[str, float]] = {}
    drawn: dict[tuple[int, str], dict[tuple, tuple[int, dict[int, float]]]] = {}
    for (seed, repeat, fold, draw), rows in part.groupby(["seed", "repeat", "fold", "draw"], sort=True):
        values, left_out = _score(rows, one, context)
        shared = {**keys, "seed": seed, "repeat": repeat, "fold": fold, "draw": draw, **_counts(rows, context)}
        context.rows += [{**shared, "metric": name, "value": float(v[0])} for name, v in values.items()]
        if "penalty" in rows and rows["penalty"].notna().all():
            context.rows.append({**shared, "metric": "penalty", "value": float(rows["penalty"].iloc[0])})
        _note(context, {**keys, "seed": seed}, repeat, fold_name(repeat, fold), draw, left_out)
        for name, v in values.items():
            by_fold.setdefault((seed, repeat, fold), {}).setdefault(name, []).append(float(v[0]))  # type: ignore[arg-type, attr-defined]
            here = drawn.setdefault((seed, name), {}).setdefault((repeat, fold), (rows["patient_id"].nunique(), {}))
            here[1][draw] = float(v[0])
    _note_edges(keys, part, context)
    entry = TableRow(keys, **_counts(part, context), rows=part, test_share=context.test_share)
    entry.by_fold = {key: {name: float(np.mean(v)) for name, v in found.items()} for key, found in by_fold.items()}
    gathered: dict[str, list[np.ndarray]] = {}
    for seed, of_seed in part.groupby("seed", sort=True):
        shared = {**keys, "seed": seed, "repeat": -1, "fold": POOLED, "draw": -1, **_counts(of_seed, context)}
        pooled, moved = _replicates(keys["protocol"], of_seed, context)
        for name, arrays in pooled.items():
            values = np.mean(arrays, axis=0)
            if name in BOOTSTRAP_BIASED:
                values = centre(values)
            draws = None
            if is_fewshot(keys["protocol"]):
                draws = draw_deviations(drawn.get((seed, name), {}), len(values) - 1, int(part["seed"].min()))
            reach = covers(keys["protocol"], rules is not None, name, name in moved, draws is not None)
            if name in moved and name not in PATIENTS_ONLY:
                values = add_deviations(values, np.mean(moved[name], axis=0))
            elif draws is not None:
                values = add_deviations(values, draws)
            if reach in (WIDENED, REFITS_WIDENED, DRAWS_WIDENED):
                values = widen(values)
            gathered.setdefault(name, []).append(values)
            found = {"metric": name, "value": float(values[0])}
            if name not in WITHOUT_INTERVAL:
                interval = percentile_interval(values, level)
                low, high = bounded(name, interval.low, interval.high)
                found |= {"ci_low": low, "ci_high": high, "covers": reach}
            context.rows.append({**shared, **found})
        for name, value in ({} if rules is None else rules.facts(of_seed, keys["protocol"])).items():
            context.rows.append({**shared, "metric": name, "value": value})
        if shots_of(keys["protocol"]) and "train_n" in of_seed:  # a point of a learning curve: its place
            drawn_sets = of_seed.drop_duplicates(["repeat", "fold", "draw"])
            context.rows.append({**shared, "metric": TRAINING_PATIENTS, "value": float(drawn_sets["train_n"].mean())})
    entry.pooled = {name: np.mean(arrays, axis=0) for name, arrays in gathered.items()}
    return entry


def _note_edges(keys: dict, part: pd.DataFrame, context: _Context) -> None:
    """Say where a grid of penalties ended before the best one may have been met."""
    if "penalty" not in part or part["penalty"].isna().any() or is_fewshot(keys["protocol"]):
        return
    if context.rules is None:
        return
    grid = context.rules.grid(keys["head"], context.settings)
    chosen = part.drop_duplicates(["repeat", "fold", "draw"])["penalty"]
    ends = [C for C in (grid[0], grid[-1]) if len(grid) > 1 and (chosen == C).any()]
    if ends:
        text = " and ".join(f"C = {C:g} in {int((chosen == C).sum())} of {len(chosen)} fits" for C in ends)
        seed = part["seed"].iloc[0]
        _note(context, {**keys, "seed": seed}, -1, POOLED, -1, {"penalty": f"edge of the grid: {text}"})


def _replicates(protocol: str, part: pd.DataFrame, context: _Context):
    """Bootstrap values of every repeat and draw by metric, and their values under refits, where there are any."""
    pooled: dict[str, list[np.ndarray]] = {}
    moved: dict[str, list[np.ndarray]] = {}
    for _, rows in part.groupby(["repeat", "draw"], sort=True):
        values, left_out = _blocks(rows, context)
        keys = {name: rows[name].iloc[0] for name in [*KEYS, "seed"]}
        _note(context, keys, -1, POOLED, -1, left_out)
        for name, v in values.items():
            pooled.setdefault(name, []).append(v)
        if protocol in TRAINED and context.rules is not None:
            for name, v in (context.rules.refit_metrics(rows, context.scoring) or {}).items():
                moved.setdefault(name, []).append(v)
    whole = {name for name in moved if len(moved[name]) == len(pooled.get(name, []))}
    return pooled, {name: moved[name] for name in whole}


def score_predictions(
    predictions: Mapping[str, pd.DataFrame],
    patients: Mapping[Any, pd.DataFrame],
    splits: Mapping[tuple[str, str], pd.DataFrame],
    settings: EvaluationSettings,
    targets: Sequence[Target] = (),
) -> MetricTables:
    """Score prediction tables.

    Parameters
    ----------
    predictions : mapping of target to DataFrame
        See `mirror.io.predictions`.
    patients : mapping of (cohort, target), or of cohort, to DataFrame
        Indexed by patient_id; survival needs ``time_days`` and ``event``.
    splits : mapping of (cohort, scheme) to DataFrame
    settings : EvaluationSettings
    targets : sequence of Target
        Those whose names are not the ones of the short forms.

    Returns
    -------
    MetricTables
    """
    rows, notes, comparisons = [], [], []
    named = {target.name: target for target in targets}
    for task, frame in predictions.items():
        target = named.get(task) or (None if task == RETRIEVAL else Target.of(task))
        rules = None if target is None else target.rules
        primary = PRIMARY.get(task) if rules is None else rules.primary
        # The weights are drawn once per cohort, scheme and task: resample r is the same patients for every method.
        for scheme, part in frame.groupby(SCHEME, sort=True):
            part = part.assign(**{COLUMN: pd.factorize(part["patient_id"], sort=True)[0]})
            people = patients.get((scheme[0], task), patients.get(scheme[0]))
            context = _prepare(part, people, splits.get(scheme), settings, rules)
            entries = []
            for key, group in part.groupby(KEYS, sort=True):
                entry = _group(dict(zip(KEYS, key, strict=True)), group, context)
                entries += [] if entry is None else [entry]
            chosen = {tuple(entry.keys[name] for name in KEYS) for entry in declared(entries, settings.survival.models)}
            for row in context.rows:
                row["declared"] = row["fold"] == POOLED and tuple(row[name] for name in KEYS) in chosen
            level, heads = settings.statistics.level, settings.survival.models
            comparisons.append(compare_entries(task, entries, level, heads, primary))
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
    patients: Mapping[Any, pd.DataFrame],
    splits: Mapping[tuple[str, str], pd.DataFrame],
    settings: EvaluationSettings,
    embeddings: Sequence[str | Path] = (),
    seed: int = 0,
    targets: Sequence[Target] = (),
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
    return score_predictions(tables, patients, splits, settings, targets)
