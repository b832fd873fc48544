"""Join the tables of a cohort's shards into one."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mirror.config.sources import FeatureSource
from mirror.core.facts import Facts
from mirror.features.account import note_features
from mirror.io.status import join_tables
from mirror.slides.tiling.facts import slide_facts

TEXT = {"slide_id": str, "status": str, "mpp_source": str, "message": str}


def main(
    shards: Sequence[str],
    table: str | Path,
    facts: str | Path | None = None,
    cohort: str = "",
    what: str = "tiles",
    source: dict[str, Any] | None = None,
) -> None:
    """Write the rows of ``shards`` to ``table``, and what was read as what to ``facts``.

    Parameters
    ----------
    shards : sequence of str
        Tables with one header.
    table : path-like
        The joined table.
    facts : path-like, optional
        JSON of what was found over all shards.
    cohort : str
        The cohort's name.
    what : {"tiles", "features"}
        What the tables account for.
    source : dict, optional
        `FeatureSource` of imported features, whose tiles are compared in size.

    Raises
    ------
    InputError
        The tiles of imported features differ in size and ``mixed_scales`` is ``error``.
    """
    join_tables(shards, table)
    if not facts:
        return
    joined = pd.read_csv(table, sep="\t", dtype=TEXT, keep_default_na=False)
    if what == "tiles":
        found = slide_facts(joined, cohort)
    else:
        found = Facts(source["path"] if source else f"patch features of {cohort}")
        failed = joined[joined["status"] == "failed"]
        if len(failed):
            first = f"{failed['slide_id'].iloc[0]}: {failed['message'].iloc[0]}"
            found.warn("slides without features", f"{len(failed)} of {len(joined)}, the first {first}", found.about)
        if source is not None:
            note_features(FeatureSource.model_validate(source), joined, found)
    found.log(logging.getLogger("mirror"))
    found.write(facts)


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            step.input.shards,
            step.output.table,
            step.output.get("facts"),
            step.wildcards.cohort,
            step.params.get("what", "tiles"),
            step.params.get("source"),
        ),
        step.log[0],
    )
