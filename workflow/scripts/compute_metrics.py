"""Rule compute_metrics: every prediction of a run -> metrics, comparisons and what was left out."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mirror.config.evaluation import EvaluationSettings
from mirror.core.atomic import write_tsv
from mirror.evaluation.score import METRIC_COLUMNS, compute_metrics
from mirror.io.predictions import fit_notes
from mirror.io.splits import read_splits
from mirror.io.tables import read_outcomes
from mirror.plan.paths import names_in
from mirror.targets.registry import Target

log = logging.getLogger("mirror")


def main(
    predictions: list[Path],
    outcomes: list[Path],
    splits: list[Path],
    embeddings: list[Path],
    settings: dict[str, Any],
    seed: int,
    metrics: Path,
    comparisons: Path,
    notes: Path | None = None,
    truth: Sequence[Path] = (),
    targets: Sequence[dict[str, Any]] = (),
) -> None:
    """Score all predictions.

    Cohort, target and scheme of ``outcomes`` and ``splits`` are read from their paths. ``notes``
    takes the metrics that were left out, and why, and what the fits noted;
    ``truth`` are tables of truth recovery, which
    join the metrics as they are.
    """
    tables = compute_metrics(
        predictions,
        {tuple(names_in("outcomes", path).values()): read_outcomes(path) for path in outcomes},
        {tuple(names_in("splits", path).values()): read_splits(path) for path in splits},
        EvaluationSettings(**settings),
        embeddings,
        seed,
        [Target.of(target) for target in targets],
    )
    known = [pd.read_csv(path, sep="\t", dtype={"fold": str}) for path in truth]
    joined = pd.concat([tables.metrics, *known], ignore_index=True)[METRIC_COLUMNS]
    write_tsv(metrics, joined.astype({"events": "Int64"}))
    write_tsv(comparisons, tables.comparisons)
    for row in tables.notes.itertuples():
        log.info("%s %s %s %s: %s", row.method, row.task, row.fold, row.metric, row.reason)
    if notes:
        said = [table for table in (tables.notes, fit_notes(predictions)) if len(table)]
        write_tsv(notes, pd.concat(said, ignore_index=True)[tables.notes.columns] if said else tables.notes)


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            predictions=[Path(path) for path in step.input.predictions],
            outcomes=[Path(path) for path in step.input.outcomes],
            targets=list(step.params.targets),
            splits=[Path(path) for path in step.input.splits],
            embeddings=[Path(path) for path in step.input.embeddings],
            truth=[Path(path) for path in step.input.truth],
            settings=step.params.settings,
            seed=step.params.seed,
            metrics=Path(step.output.metrics),
            comparisons=Path(step.output.comparisons),
            notes=Path(step.output.notes) if "notes" in step.output.keys() else None,  # noqa: SIM118 (a Namedlist, whose "in" looks at values),
        ),
        step.log[0],
    )
