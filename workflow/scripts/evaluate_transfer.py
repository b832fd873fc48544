"""Rule evaluate_transfer: survival heads of one cohort -> risk of another cohort's patients."""

from pathlib import Path
from typing import Any

from mirror.config.evaluation import EvaluationSettings
from mirror.evaluation.transfer.risk import transfer_risk
from mirror.io.predictions import Names, write_predictions
from mirror.io.splits import read_splits
from mirror.io.tables import read_outcomes, read_patients, with_outcomes
from mirror.targets.registry import Target


def main(
    source_embeddings: list[Path],
    source_patients: Path,
    source_splits: Path,
    target_embeddings: list[Path],
    target_patients: Path,
    outcomes: tuple[Path, Path],
    task: dict[str, Any],
    splits: Path,
    settings: dict[str, Any],
    names: dict[str, str],
    seed: int,
    out: Path,
) -> None:
    """Fit on the source's training patients, rank those of the target that ``splits`` (of the transfer) test.

    ``outcomes`` are those of the source and of the target, of the survival target ``task``.
    """
    theirs, ours = (read_outcomes(path) for path in outcomes)
    mine = read_splits(splits)
    result = transfer_risk(
        source_embeddings,
        with_outcomes(read_patients(source_patients), theirs),
        read_splits(source_splits),
        target_embeddings,
        with_outcomes(read_patients(target_patients), ours),
        Names(**names),
        EvaluationSettings(**settings),
        seed,
        allowed=set(mine.loc[mine["set"] == "test", "patient_id"]),
        task=Target.of(task),
    )
    write_predictions(out, result.rows, result.columns, result.metadata)


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            source_embeddings=[Path(path) for path in step.input.source_embeddings],
            source_patients=Path(step.input.source_patients),
            source_splits=Path(step.input.source_splits),
            target_embeddings=[Path(path) for path in step.input.target_embeddings],
            target_patients=Path(step.input.target_patients),
            outcomes=(Path(step.input.source_outcomes), Path(step.input.target_outcomes)),
            task=step.params.task,
            splits=Path(step.input.splits),
            settings=step.params.settings,
            names=dict(step.params.names),
            seed=step.params.seed,
            out=Path(step.output.predictions),
        ),
        step.log[0],
    )
