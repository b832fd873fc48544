"""Numbers from large text tables in bounded memory, either way round."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv

from ...core.errors import InputError
from ...core.memory import fits, in_words, job_memory
from ..bounded import ends_in_a_line
from ..header import Header
from ..opening import open_binary, open_text
from .base import Blocks

MISSING = ("", "NA", "Na", "na", "N/A", "n/a", "#N/A", "N.A.", "NaN", "nan", "NAN", "<NA>", "null", "NULL", "Null",
           "None", "none", "-", "--", "'--", "?", ".", "missing")  # fmt: skip
"""Cells that mean a missing value in an expression table; anything else that is no number is an error."""

_BLOCK_BYTES = 16 << 20
_SHARE = 0.5
MAX_ROWS = 5_000_000
_TEXT_BYTES = 100


def read_columns(
    path: str | Path,
    header: Header,
    text_columns: Sequence[int],
    columns: Sequence[int],
    notes: dict[str, Any] | None = None,
) -> tuple[np.ndarray, dict[int, list[str]]]:
    """Read some columns of a table with genes in rows, block by block.

    Parameters
    ----------
    path : path-like
        The table; compressed or not.
    header : Header
        From `mirror.readers.header.read_header`.
    text_columns, columns : sequence of int
        Positions of the annotation columns and of the sample columns.
    notes : dict, optional
        Gets ``no_final_line_end`` where the text breaks off without a line end.

    Returns
    -------
    values : numpy.ndarray
        float32 (samples, genes).
    texts : dict
        Annotation column's position -> list of str, one per gene.

    Raises
    ------
    InputError
        When a cell is no number, a line has the wrong number of fields, or the matrix does not fit into the
        job's memory.
    """
    names = [str(position) for position in range(len(header.columns))]
    wanted = [str(position) for position in (*text_columns, *columns)]
    types = {str(position): pa.string() for position in text_columns}
    types |= {str(position): pa.float32() for position in columns}
    blocks = Blocks()
    texts: dict[int, list[str]] = {position: [] for position in text_columns}
    # A block must hold several whole lines, however wide the table is.
    widest = max(sum(map(len, fields)) + len(fields) for fields in header.first)
    with open_binary(path) as stream:
        try:
            reader = pv.open_csv(
                stream,
                read_options=pv.ReadOptions(
                    use_threads=False,
                    block_size=max(_BLOCK_BYTES, 8 * widest),
                    skip_rows=header.skip,
                    column_names=names,
                ),
                parse_options=pv.ParseOptions(delimiter=header.delimiter),
                convert_options=pv.ConvertOptions(
                    include_columns=wanted,
                    column_types=types,
                    null_values=list(MISSING),
                    strings_can_be_null=False,
                    decimal_point=header.decimal,
                ),
            )
            rows, allowed = 0, int(job_memory() * _SHARE)
            for batch in reader:
                rows += batch.num_rows
                _check_rows(rows, path)
                need = rows * (4 * len(columns) + _TEXT_BYTES * len(text_columns))
                if need > allowed:
                    raise InputError(
                        f"has more than {rows} rows of {len(columns)} samples, {in_words(need)}; this job's memory "
                        f"allows {in_words(allowed)}",
                        file=path,
                        remedy="raise mem_mb of the rule (--set-resources) if the file is genuine",
                    )
                for position in text_columns:
                    texts[position].extend(text.strip() for text in batch.column(str(position)).to_pylist())
                block = np.empty((batch.num_rows, len(columns)), np.float32)
                for number, position in enumerate(columns):
                    block[:, number] = batch.column(str(position)).to_numpy(zero_copy_only=False)
                blocks.add(block)
            if notes is not None and not ends_in_a_line(stream):
                notes["no_final_line_end"] = True
        except pa.ArrowInvalid as error:
            raise _explain(str(error), header, path) from error
    return blocks.join(len(columns)), texts


_FIELDS = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")
_CELL = re.compile(r"Row #(\d+): CSV conversion error to \w+: invalid value '(.*)'$")


def _explain(message: str, header: Header, path: str | Path) -> InputError:
    """Turn Arrow's message (``In CSV column #3: ... invalid value 'x'``) into one that names line and column."""
    message = message.split("\n")[0]
    fields = _FIELDS.search(message)
    if fields:
        return InputError(
            f"has {fields[3]} fields where the header has {fields[2]}",
            file=path,
            row=f"line {fields[1]}",
            remedy="download or export the file again if this is its last line (it is cut), or correct the line",
        )
    column = ""
    if "CSV column #" in message:
        number, _, rest = message.split("CSV column #", 1)[1].partition(":")
        if number.strip().isdigit() and int(number) < len(header.columns):
            column, message = f"column {header.columns[int(number)]!r}: ", rest.strip()
    cell = _CELL.search(message)
    if cell is None:
        return InputError(column + message.removeprefix("CSV conversion error to "), file=path)
    again = "the header is repeated here" if cell[2] in header.columns else "correct the cell, or leave it empty"
    said = f"{column}{cell[2]!r} is not a number{decimal_comma(cell[2])}"
    return InputError(said, file=path, row=f"line {cell[1]}", remedy=again)


def read_rows(
    path: str | Path,
    header: Header,
    id_column: int,
    columns: Sequence[int],
    keep: np.ndarray,
    notes: dict[str, Any] | None = None,
) -> np.ndarray:
    """Read some rows of a table with samples in rows, line by line.

    Parameters
    ----------
    path, header
        As in `read_columns`.
    id_column : int
        Position of the sample identifiers, for messages.
    columns : sequence of int
        Positions of the genes.
    keep : numpy.ndarray
        int64, data lines to read, ascending.
    notes : dict, optional
        As in `read_columns`.

    Returns
    -------
    numpy.ndarray
        float32 (kept lines, genes).
    """
    fits(4 * len(keep) * len(columns), path, f"a matrix of {len(keep)} samples and {len(columns)} genes", _SHARE)
    values = np.empty((len(keep), len(columns)), np.float32)
    wanted = {int(line): row for row, line in enumerate(keep)}
    everything = list(columns) == list(range(id_column + 1, len(header.columns)))
    for number, line in _lines(path, header, notes):
        row = wanted.get(number)
        if row is None:
            continue
        fields = split(line, header.delimiter)
        if len(fields) != len(header.columns):
            raise InputError(
                f"has {len(fields)} fields where the header has {len(header.columns)}",
                file=path,
                row=f"line {number + header.skip + 1}",
            )
        cells = fields[id_column + 1 :] if everything else [fields[position] for position in columns]
        if header.decimal != ".":
            cells = [cell.replace(header.decimal, ".", 1) for cell in cells]
        try:
            if "_" in line and any("_" in cell for cell in cells):  # Python alone takes 1_000 for a number
                raise ValueError
            values[row] = np.array(cells, dtype=np.float32)
        except ValueError:
            at = f"line {number + header.skip + 1}"
            values[row] = [_number(cell, header.columns[c], path, at) for cell, c in zip(cells, columns, strict=True)]
    return values


def read_ids(path: str | Path, header: Header, columns: Sequence[int]) -> list[tuple[str, ...]]:
    """Read the text of some columns for every line without turning the others into numbers."""
    last = max(columns) + 1
    out = []
    for _, line in _lines(path, header):
        fields = split(line, header.delimiter) if '"' in line else line.split(header.delimiter, last)
        out.append(tuple(fields[column].strip() if column < len(fields) else "" for column in columns))
    return out


def _lines(path: str | Path, header: Header, notes: dict[str, Any] | None = None) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of the data lines."""
    with open_text(path) as text:
        for _ in range(header.skip):
            text.readline()
        number = 0
        line = ""
        for line in text:
            if line.strip():
                yield number, line.rstrip("\r\n")
                number += 1
                _check_rows(number, path)
        if notes is not None and line and not line.endswith(("\n", "\r")):
            notes["no_final_line_end"] = True


def _check_rows(rows: int, path: str | Path) -> None:
    if rows > MAX_ROWS:
        raise InputError(f"has more than {MAX_ROWS} rows, more than any list of genes or patients", file=path)


def split(line: str, delimiter: str) -> list[str]:
    """Split a line into fields; quotes are honoured."""
    return next(csv.reader([line], delimiter=delimiter)) if '"' in line else line.split(delimiter)


def _number(cell: str, column: str, path: str | Path, row: str) -> float:
    cell = cell.strip()
    if cell in MISSING:
        return np.nan
    if not is_number(cell):
        raise InputError(f"column {column!r}: {cell!r} is not a number{decimal_comma(cell)}", file=path, row=row)
    return float(cell)


def decimal_comma(cell: str) -> str:
    """Say so where a cell is a number with a comma for its point; else nothing."""
    return " (decimal commas: export the table with points)" if is_number(cell.replace(",", ".", 1)) else ""


def is_number(cell: str, decimal: str = ".") -> bool:
    """Whether a cell is a number or a missing value."""
    if decimal != ".":
        cell = cell.replace(decimal, ".", 1)
    if cell.strip() in MISSING:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
