"""Join the tables of a cohort's shards into one."""

from collections.abc import Sequence
from pathlib import Path

from mirror.slides.join import join_tables


def main(shards: Sequence[str], table: str | Path) -> None:
    """Write the rows of ``shards`` to ``table``."""
    join_tables(shards, table)


if "snakemake" in globals():
    from mirror.io.progress import run_step

    step = snakemake  # noqa: F821
    run_step(lambda: main(step.input.shards, step.output.table), step.log[0])
