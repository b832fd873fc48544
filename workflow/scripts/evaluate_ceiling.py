"""Rule evaluate_ceiling: a simulated cohort's true factors in the same folds -> predictions."""

from pathlib import Path
from typing import Any

from mirror.config.evaluation import EvaluationSettings
from mirror.evaluation.ceiling import evaluate_ceiling, read_factors
from mirror.evaluation.compare import CEILING
from mirror.evaluation.evaluate import Names
from mirror.evaluation.folds import read_patients, read_splits
from mirror.evaluation.predictions import write_predictions


def main(
    task: str,
    factors: Path,
    patients: Path,
    splits: Path,
    settings: dict[str, Any],
    names: dict[str, str],
    seed: int,
    out: Path,
) -> None:
    """Write what a linear head on the truth predicts for every test patient."""
    result = evaluate_ceiling(
        read_factors(factors),
        read_patients(patients),
        read_splits(splits),
        task,
        Names(**names, method=CEILING),
        EvaluationSettings(**settings),
        seed,
        [factors, patients, splits],
    )
    write_predictions(out, result.rows, task, result.metadata)


if "snakemake" in globals():
    from mirror.io.progress import run_step

    smk = snakemake  # noqa: F821
    run_step(
        lambda: main(
            task=smk.wildcards.task,
            factors=Path(smk.input.factors),
            patients=Path(smk.input.patients),
            splits=Path(smk.input.splits),
            settings=smk.params.settings,
            names=dict(smk.params.names),
            seed=smk.params.seed,
            out=Path(smk.output.predictions),
        ),
        smk.log[0],
    )
