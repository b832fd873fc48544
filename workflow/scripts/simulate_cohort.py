"""Draw and write a simulated cohort."""

from pathlib import Path

from mirror.config.cohort import SimulateSettings
from mirror.simulation.write import write_cohort


def main(folder: Path, settings: dict, threads: int, cohort: str) -> None:
    """Write the cohort into ``folder``."""
    write_cohort(folder, SimulateSettings(**settings), threads, cohort)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            Path(snakemake.output.samples).parent,
            snakemake.params.settings,
            snakemake.threads,
            snakemake.wildcards.cohort,
        ),
        snakemake.log[0],
    )
