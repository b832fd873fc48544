"""Rule encode_transfer: embed the target cohort with a checkpoint and a transform of the source cohort."""

from collections.abc import Sequence
from pathlib import Path

from mirror.compute.device import hold_gpu
from mirror.dataset.paired import load_paired
from mirror.inference.encode import encode, write_embeddings
from mirror.io.checkpoints import load_checkpoint


def main(
    checkpoint: Path,
    patients: Path,
    slides: Path,
    splits: Path,
    expression: Path | None,
    transform: Path,
    features_dir: Path | None,
    feature_status: Sequence[Path],
    fold: str,
    out: Path,
    threads: int = 1,
    min_focus: float | None = None,
) -> None:
    """Write the embeddings of every slide and RNA vector of the target; either modality may be absent.

    ``splits`` are those of the transfer: the source's training patients (whom the transform was
    fitted on) and the target's patients as test.
    """
    trained = load_checkpoint(checkpoint)
    with hold_gpu(trained.settings.train.device) as device:
        data = load_paired(
            patients,
            slides,
            splits,
            fold,
            expression,
            transform if expression else None,
            features_dir,
            feature_status=feature_status,
            order=trained.settings.train.token_order,
            min_focus=min_focus,
        )
        write_embeddings(out, encode(checkpoint, data, device=device, threads=threads))


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            checkpoint=Path(step.input.checkpoint),
            patients=Path(step.input.patients),
            slides=Path(step.input.slides),
            splits=Path(step.input.splits),
            expression=Path(step.input.rna) if step.input.rna else None,
            transform=Path(step.input.transform),
            features_dir=Path(step.params.features) if step.params.features else None,
            feature_status=[Path(path) for path in step.input.features],
            fold=step.wildcards.fold,
            out=Path(step.output.embeddings),
            threads=step.threads,
            min_focus=step.params.min_focus,
        ),
        step.log[0],
    )
