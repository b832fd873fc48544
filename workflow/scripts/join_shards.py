"""Join the tables of a cohort's shards into one."""

from collections.abc import Sequence
from pathlib import Path

from mirror.io.status import join_tables


def main(shards: Sequence[str], table: str | Path) -> None:
    """Write the rows of ``shards`` to ``table``."""
    join_tables(shards, table)


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(lambda: main(step.input.shards, step.output.table), step.log[0])
