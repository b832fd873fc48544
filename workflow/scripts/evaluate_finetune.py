"""Rule evaluate_finetune: fine-tune every fold's checkpoint on one task -> predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mirror.compute.device import hold_gpu
from mirror.config.evaluation import EvaluationSettings
from mirror.dataset.paired import load_paired
from mirror.evaluation.finetune import evaluate_finetuned
from mirror.io.checkpoints import load_checkpoint
from mirror.io.predictions import Names, write_predictions
from mirror.io.splits import read_splits
from mirror.io.tables import read_outcomes, read_patients, with_outcomes
from mirror.targets.registry import Target


def main(
    target: dict[str, Any],
    checkpoints: Sequence[Path],
    patients: Path,
    outcomes: Path,
    slides: Path,
    splits: Path,
    expression: Path | None,
    transforms: Sequence[Path],
    features: Path | None,
    settings: dict[str, Any],
    names: dict[str, str],
    seed: int,
    out: Path,
    feature_status: Sequence[Path] = (),
    min_focus: float | None = None,
) -> None:
    """Fine-tune and write the predictions.

    ``checkpoints`` are ``{fold}.safetensors`` and ``transforms`` are ``transform_{fold}.npz``;
    ``features`` is the folder of ``{slide_id}.h5``.
    """
    fitted = {path.stem.removeprefix("transform_"): path for path in transforms}
    train = load_checkpoint(checkpoints[0]).settings.train  # one variant: the same in every fold

    def load(fold):
        transform = fitted.get(fold.name)
        return load_paired(
            patients,
            slides,
            splits,
            fold.name,
            expression,
            transform,
            features,
            feature_status=feature_status,
            order=train.token_order,
            min_focus=min_focus,
        )

    with hold_gpu(train.device):
        result = evaluate_finetuned(
            {path.stem: path for path in checkpoints},
            load,
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
            checkpoints=[Path(path) for path in step.input.checkpoints],
            patients=Path(step.input.patients),
            outcomes=Path(step.input.outcomes),
            slides=Path(step.input.slides),
            splits=Path(step.input.splits),
            expression=Path(step.input.rna) if step.input.rna else None,
            transforms=[Path(path) for path in step.input.transforms],
            features=Path(step.params.features) if step.params.features else None,
            settings=step.params.settings,
            names=dict(step.params.names),
            seed=step.params.seed,
            out=Path(step.output.predictions),
            feature_status=[Path(path) for path in step.input.features],
            min_focus=step.params.min_focus,
        ),
        step.log[0],
    )
