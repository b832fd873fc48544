"""Time some training steps of every variant on random numbers, for the doctor's plan."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mirror.compute.device import hold_gpu
from mirror.core.atomic import write_json
from mirror.training.trial import time_steps


def main(variants: dict[str, Any], width: int, genes: int, device: str, threads: int, out: Path) -> None:
    """Write seconds per step and megabytes per checkpoint of every variant as JSON."""
    with hold_gpu(device):
        write_json(out, [asdict(row) for row in time_steps(variants, width, genes, threads)])


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            step.params.variants, step.params.width, step.params.genes, step.params.device, step.threads,
            Path(step.output.trial),
        ),
        step.log[0],
    )  # fmt: skip
