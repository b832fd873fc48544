"""Rule evaluate_ceiling: a simulated cohort's true factors in the same folds -> predictions."""

from pathlib import Path
from typing import Any

from mirror.config.evaluation import EvaluationSettings
from mirror.core.reserved import CEILING
from mirror.evaluation.simulated.ceiling import evaluate_ceiling, read_factors
from mirror.io.predictions import Names, write_predictions
from mirror.io.splits import read_splits
from mirror.io.tables import read_outcomes, read_patients, with_outcomes
from mirror.targets.registry import Target


def main(
    target: dict[str, Any],
    factors: Path,
    patients: Path,
    outcomes: Path,
    splits: Path,
    settings: dict[str, Any],
    names: dict[str, str],
    seed: int,
    out: Path,
) -> None:
    """Write what a linear head on the truth predicts for every test patient."""
    result = evaluate_ceiling(
        read_factors(factors),
        with_outcomes(read_patients(patients), read_outcomes(outcomes)),
        read_splits(splits),
        Target.of(target),
        Names(**names, method=CEILING),
        EvaluationSettings(**settings),
        seed,
        [factors, patients, outcomes, splits],
    )
    write_predictions(out, result.rows, result.columns, result.metadata)


if "snakemake" in globals():
    from mirror.core.step import run_step

    smk = snakemake
    run_step(
        lambda: main(
            target=smk.params.target,
            factors=Path(smk.input.factors),
            patients=Path(smk.input.patients),
            outcomes=Path(smk.input.outcomes),
            splits=Path(smk.input.splits),
            settings=smk.params.settings,
            names=dict(smk.params.names),
            seed=smk.params.seed,
            out=Path(smk.output.predictions),
        ),
        smk.log[0],
    )
