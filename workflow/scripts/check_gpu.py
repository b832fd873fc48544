"""Ask an environment with PyTorch whether it can use this machine's GPU; its answer is a row of the doctor's table."""

from pathlib import Path

from mirror.compute.finding import gpu_finding
from mirror.core.atomic import write_json


def main(environment: str, setting: str, out: Path) -> None:
    """Write the finding of the environment that runs this."""
    write_json(out, vars(gpu_finding(environment, setting)))


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(step.wildcards.environment, step.params.setting, Path(step.output.answer)),
        step.log[0],
    )
