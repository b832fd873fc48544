"""Embed a whole cohort with one fold's checkpoint."""

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
    expression: Path,
    transform: Path,
    features_dir: Path,
    feature_status: Sequence[Path],
    fold: str,
    out: Path,
    threads: int = 1,
    gpu_share: int = 1,
    min_focus: float | None = None,
) -> None:
    """Write the embeddings of every slide and RNA vector, training and test patients alike."""
    trained = load_checkpoint(checkpoint)
    with hold_gpu(trained.settings.train.device, gpu_share) as device:
        data = load_paired(
            patients,
            slides,
            splits,
            fold,
            expression,
            transform,
            features_dir,
            feature_status=feature_status,
            order=trained.settings.train.token_order,
            min_focus=min_focus,
        )
        write_embeddings(out, encode(checkpoint, data, device=device, threads=threads))


if "snakemake" in globals():
    from mirror.core.step import run_step

    smk = snakemake
    run_step(
        lambda: main(
            Path(smk.input.checkpoint),
            Path(smk.input.patients),
            Path(smk.input.slides),
            Path(smk.input.splits),
            Path(smk.input.rna),
            Path(smk.input.transform),
            Path(smk.params.features),
            [Path(path) for path in smk.input.get("features", [])],
            smk.wildcards.fold,
            Path(smk.output.embeddings),
            smk.threads,
            smk.resources.get("gpu_share", 1),
            smk.params.get("min_focus"),
        ),
        smk.log[0],
    )
