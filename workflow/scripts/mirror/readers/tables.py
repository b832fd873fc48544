"""Small tables as text, and what every reader says of a column that is missing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.memory import in_words, job_memory
from .bounded import table_limit
from .header import read_header
from .opening import container, open_text

if TYPE_CHECKING:
    import pandas as pd


def read_table(path: str | Path, without: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read a small table, every cell as stripped text; missing-value marks are left to the caller.

    Parameters
    ----------
    path : path-like
        Text (compressed or not) or parquet.
    without : tuple of str
        Columns whose names end so are not read (the thousands of genes beside PORPOISE's clinical columns).

    Returns
    -------
    pandas.DataFrame
        Columns as named; repeated names get ``.1``, ``.2`` as pandas gives them.

    Raises
    ------
    InputError
        When the file is no table; names the line at fault where there is one.
    """
    import pandas as pd

    if container(path) == "parquet":
        refuse_large_parquet(path)
        frame = pd.read_parquet(path)
        if frame.index.name or not isinstance(frame.index, pd.RangeIndex):
            frame = frame.reset_index(names=[frame.index.name or ""])
        return frame.astype("string").fillna("").astype(object)
    header = read_header(path)
    wanted = [i for i, name in enumerate(header.columns) if not (without and name.lower().endswith(without))]
    try:
        with open_text(path, table_limit()) as text:
            frame = pd.read_csv(
                text,
                sep=header.delimiter,
                skiprows=header.skip,
                header=None,
                names=range(len(header.columns)),
                usecols=wanted,
                dtype=str,
                keep_default_na=False,
                skipinitialspace=True,
            )
    except pd.errors.ParserError as error:
        wrong = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if wrong:
            problem = f"has {wrong[3]} fields where the header has {wrong[1]}"
            raise InputError(problem, file=path, row=f"line {wrong[2]}", remedy="correct the line") from error
        raise InputError(f"cannot be read as a table: {error}", file=path) from error
    short = frame.isna().any(axis=1)  # with keep_default_na=False only a line that is too short leaves a gap
    if short.any():
        row = header.skip + 1 + int(short.to_numpy().argmax())
        raise InputError("a line has fewer fields than the header", file=path, row=f"line {row}")
    frame.columns = pd.Index(unique_names(header.columns[i] for i in wanted))
    return frame.apply(lambda column: column.str.strip())


def refuse_large_parquet(path: str | Path, share: float = 0.4) -> None:
    """Refuse a parquet file whose rows and columns would not fit into the job's memory (8 bytes a cell).

    Its compressed size says little: runs of one value take almost no room.

    Raises
    ------
    InputError
        Too large, or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"damaged parquet file ({str(error).splitlines()[0]})", file=path) from error
    cells, allowed = found.num_rows * found.num_columns, int(job_memory() * share)
    if 8 * cells > allowed:
        raise InputError(
            f"claims {found.num_rows} rows and {found.num_columns} columns, {in_words(8 * cells)}; this job's memory "
            f"allows {in_words(allowed)}",
            file=path,
            remedy="raise mem_mb of the rule (--set-resources) if the file is genuine",
        )


def unique_names(names: Iterable[str]) -> list[str]:
    """Return ``names`` with ``.1``, ``.2`` put behind repeats."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        count = seen.get(name, 0)
        seen[name] = count + 1
        out.append(f"{name}.{count}" if count else name)
    return out


def missing_column(wanted: str, columns: Iterable[str], file: str | Path, setting: str | None = None) -> InputError:
    """Return the error for a column that is not there; it names the nearest ones that are."""
    columns = [str(column) for column in columns]
    lower = {column.lower(): column for column in columns}
    alike = difflib.get_close_matches(wanted.lower(), lower, n=3, cutoff=0.4)
    alike.sort(key=lambda name: not (wanted.lower().startswith(name) or name.startswith(wanted.lower())))
    near = [lower[name] for name in alike]
    hint = f"nearest: {', '.join(near)}" if near else f"it has: {', '.join(columns[:8])}"
    remedy = f"name the column in `{setting}`" if setting else None
    return InputError(f"has no column {wanted!r} ({hint})", file=file, remedy=remedy)
