"""One table of many shards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..io.atomic import atomic_path
from ..io.errors import InputError


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
