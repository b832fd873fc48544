"""Join the tables of a cohort's shards into one."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mirror.io.status import join_tables
from mirror.slides.tiling.facts import slide_facts


def main(shards: Sequence[str], table: str | Path, facts: str | Path | None = None, cohort: str = "") -> None:
    """Write the rows of ``shards`` to ``table``; of tiles also what was read as what to ``facts``."""
    join_tables(shards, table)
    if facts:
        text = {"slide_id": str, "status": str, "mpp_source": str, "message": str}
        found = slide_facts(pd.read_csv(table, sep="\t", dtype=text, keep_default_na=False), cohort)
        found.log(logging.getLogger("mirror"))
        found.write(facts)


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(step.input.shards, step.output.table, step.output.get("facts"), step.wildcards.cohort), step.log[0]
    )
