"""Rule evaluate_embeddings: frozen embeddings of all folds -> predictions of one task."""

from pathlib import Path
from typing import Any

from mirror.config.evaluation import EvaluationSettings
from mirror.evaluation.embeddings import evaluate_embeddings
from mirror.io.predictions import Names, write_predictions
from mirror.io.splits import read_splits
from mirror.io.tables import read_patients


def main(
    task: str,
    embeddings: list[Path],
    patients: Path,
    splits: Path,
    settings: dict[str, Any],
    names: dict[str, str],
    seed: int,
    out: Path,
) -> None:
    """Probe the embeddings and write the predictions.

    ``task`` is subtyping or survival; ``names`` holds cohort, encoder, scheme and method;
    ``settings`` is the configuration's ``evaluation`` section.
    """
    result = evaluate_embeddings(
        embeddings,
        read_patients(patients),
        read_splits(splits),
        task,
        Names(**names),
        EvaluationSettings(**settings),
        seed,
    )
    write_predictions(out, result.rows, task, result.metadata)


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            task=step.wildcards.task,
            embeddings=[Path(path) for path in step.input.embeddings],
            patients=Path(step.input.patients),
            splits=Path(step.input.splits),
            settings=step.params.settings,
            names=dict(step.params.names),
            seed=step.params.seed,
            out=Path(step.output.predictions),
        ),
        step.log[0],
    )
