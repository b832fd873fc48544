"""Rule evaluate_embeddings: frozen embeddings of all folds -> predictions of one task."""

from pathlib import Path
from typing import Any

from mirror.config.evaluation import EvaluationSettings
from mirror.evaluation.embeddings import evaluate_embeddings
from mirror.io.predictions import Names, write_predictions
from mirror.io.splits import read_splits
from mirror.io.tables import read_outcomes, read_patients, with_outcomes
from mirror.targets.registry import Target


def main(
    target: dict[str, Any],
    embeddings: list[Path],
    patients: Path,
    outcomes: Path,
    splits: Path,
    settings: dict[str, Any],
    names: dict[str, str],
    seed: int,
    out: Path,
) -> None:
    """Probe the embeddings and write the predictions.

    ``target`` is name, kind and order; ``names`` holds cohort, encoder, scheme and method;
    ``settings`` is the configuration's ``evaluation`` section.
    """
    result = evaluate_embeddings(
        embeddings,
        with_outcomes(read_patients(patients), read_outcomes(outcomes)),
        read_splits(splits),
        Target.of(target),
        Names(**names),
        EvaluationSettings(**settings),
        seed,
    )
    write_predictions(out, result.rows, result.columns, result.metadata)


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            target=step.params.target,
            embeddings=[Path(path) for path in step.input.embeddings],
            patients=Path(step.input.patients),
            outcomes=Path(step.input.outcomes),
            splits=Path(step.input.splits),
            settings=step.params.settings,
            names=dict(step.params.names),
            seed=step.params.seed,
            out=Path(step.output.predictions),
        ),
        step.log[0],
    )
