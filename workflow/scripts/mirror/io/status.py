"""Status of slides: the table of each shard, and one table of many shards."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ..core.atomic import atomic_path
from ..core.errors import InputError
from .tables import read_table

log = logging.getLogger("mirror.training")


def join_tables(shards: Iterable[str | Path], out: str | Path) -> None:
    """Write the rows of tables with the same header under one header, in the order given.

    Later steps then name one file and not each shard: a step for every fold and variant times
    hundreds of shards would make the DAG's edges, and so its planning, grow with their product.

    Parameters
    ----------
    shards : iterable of path-like
        Tab-separated tables.
    out : path-like
        The joined table, written atomically.

    Raises
    ------
    InputError
        A shard is empty or has other columns than the first.
    """
    header = None
    with atomic_path(out) as part, open(part, "w", encoding="utf-8") as joined:
        for shard in shards:
            text = Path(shard).read_text(encoding="utf-8")
            first, _, rows = text.partition("\n")
            if header is None:
                header = first
                joined.write(header + "\n")
            if not first or first != header:
                raise InputError("columns differ from the other shards'", file=shard, remedy="delete it and run again")
            joined.write(rows if rows.endswith("\n") or not rows else rows + "\n")


TEXT = {"slide_id": str, "status": str, "message": str}


def read_shards(folder: Path) -> pd.DataFrame:
    """The status tables of one step in one table; empty where it has not run."""
    shards = sorted(folder.glob("shard_*.tsv"))
    tables = [pd.read_csv(path, sep="\t", dtype=TEXT, keep_default_na=False) for path in shards]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["slide_id", "status", "n_tiles"])


def drop_failed(slides: pd.DataFrame, status: Sequence[str | Path]) -> pd.DataFrame:
    """Leave out slides whose embedding failed or that have no tiles, and say so."""
    if not status:
        return slides
    tables = [read_table(path, ["slide_id", "status"]) for path in status]
    bad = {slide for t in tables for slide in t.loc[t["status"] != "ok", "slide_id"]}
    dropped = slides[slides["slide_id"].isin(bad)]
    if len(dropped):
        log.warning(
            "%d of %d slides have no patch features and are left out (%s)",
            len(dropped),
            len(slides),
            ", ".join(dropped["slide_id"].head(5)),
        )
    return slides[~slides["slide_id"].isin(bad)].reset_index(drop=True)
