"""Rule evaluate_added: what every method adds to clinical covariates, for one target in one cohort and split scheme."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mirror.baselines.fold_data import COVARIATES
from mirror.config.evaluation import EvaluationSettings
from mirror.core.atomic import write_tsv
from mirror.evaluation.added import COLUMNS, added_value
from mirror.io.predictions import read_predictions
from mirror.io.splits import read_splits
from mirror.io.tables import read_outcomes, read_patients, with_outcomes
from mirror.targets.registry import Target


def main(
    predictions: Sequence[Path],
    patients: Path,
    outcomes: Path,
    splits: Path,
    target: dict[str, Any],
    settings: dict[str, Any],
    covariates: Sequence[str],
    seed: int,
    out: Path,
) -> None:
    """Compare covariates alone with covariates and each method's out-of-fold score."""
    frames = [frame for frame in (read_predictions(path)[0] for path in predictions) if len(frame)]
    if not frames:
        write_tsv(out, pd.DataFrame(columns=COLUMNS))
        return
    table = added_value(
        pd.concat(frames, ignore_index=True),
        with_outcomes(read_patients(patients), read_outcomes(outcomes)),
        read_splits(splits),
        Target.of(target),
        EvaluationSettings(**settings),
        (*COVARIATES, *covariates),
        seed,
    )
    write_tsv(out, table)


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            predictions=[Path(path) for path in step.input.predictions],
            patients=Path(step.input.patients),
            outcomes=Path(step.input.outcomes),
            splits=Path(step.input.splits),
            target=dict(step.params.target),
            settings=step.params.settings,
            covariates=list(step.params.covariates),
            seed=step.params.seed,
            out=Path(step.output.added),
        ),
        step.log[0],
    )
