"""The head of a text table: comments, column names, delimiter, decimal mark, first lines."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import InputError
from .opening import open_text

_SEP_LINE = re.compile(r"^\ufeff?\"?sep=(.)\"?[\t,;]*\s*$", re.IGNORECASE)
_COMMA = re.compile(r"^[+-]?\d+,\d+(?:[eE][+-]?\d+)?$")
_GROUPED = re.compile(r"^[+-]?[1-9]\d{0,2}(?:,\d{3})+$")
_POINT = re.compile(r"^[+-]?\d*\.\d+(?:[eE][+-]?\d+)?$")
_HEAD_CHARS = 32 << 20
_ID_HEADERS = {"id", "sample", "probe", "gene", "ensembl_id", "identifier", "xena_sample", "gene_id", "transcript_id"}


@dataclass(frozen=True)
class Header:
    """A text table's head.

    Attributes
    ----------
    columns : list of str
        Names, stripped; one per field of the data (R's missing corner is filled in as ``""``).
    delimiter : str
        Tab, comma or semicolon.
    skip : int
        Lines before the first data line.
    comments : list of str
        Lines that began with ``#``.
    first : list of list of str
        The fields of the first data lines, at most 50.
    decimal : str
        The mark of decimals, a point or a comma.
    """

    columns: list[str]
    delimiter: str
    skip: int
    comments: list[str]
    first: list[list[str]]
    decimal: str = "."


def read_header(path: str | Path, rows: int = 50) -> Header:
    """Read a text table's comments, header and first lines.

    Raises
    ------
    InputError
        When there is no header or not one line of data.
    """
    comments: list[str] = []
    with open_text(path) as text:
        line = text.readline()
        stated = _SEP_LINE.match(line)
        if stated:  # a spreadsheet's own first line
            comments.append(line.rstrip("\r\n"))
            line = text.readline()
        while line.startswith("#") or (line and not line.strip()):
            names = _fields(line.lstrip("#"), _delimiter(line))
            if names[0].lower() in _ID_HEADERS and len(names) > 1:
                line = line.lstrip("#")
                break
            comments.append(line.rstrip("\r\n"))
            line = text.readline()
            if comments[-1].startswith(("#1.2", "#1.3")) and line.replace("\t", " ").replace(" ", "").strip().isdigit():
                comments.append(line.rstrip("\r\n"))  # a GCT file's second line: how many rows and columns follow
                line = text.readline()
        if not line.strip():
            raise InputError("has no header line", file=path)
        delimiter = stated.group(1) if stated else _delimiter(line)
        columns = _fields(line, delimiter)
        first = []
        seen = 0
        for data in text:
            if data.strip():
                first.append(_fields(data, delimiter))
                seen += len(data)
            if len(first) >= rows or (len(first) >= 2 and seen > _HEAD_CHARS):
                break
    if not first:
        raise InputError("has a header but no rows", file=path)
    if len(first[0]) == len(columns) + 1:
        # R's write.table leaves the corner out; others end every line but the header with a delimiter.
        columns = ["", *columns] if any(fields[-1] for fields in first) else [*columns, ""]
    for number, fields in enumerate(first, start=len(comments) + 2):
        if len(fields) != len(columns):
            raise InputError(
                f"has {len(fields)} fields where the header has {len(columns)}", file=path, row=f"line {number}"
            )
    return Header(columns, delimiter, len(comments) + 1, comments, first, _decimal(first, delimiter, path))


def _decimal(first: list[list[str]], delimiter: str, path: str | Path) -> str:
    """Tell the decimal mark: a comma where cells have commas as numbers do, and none has a point."""
    if delimiter == ",":
        return "."
    cells = [cell for fields in first for cell in fields[1:]]
    grouped = [cell for cell in cells if "," in cell]
    whole = [int(cell) for cell in cells if cell.isdecimal()]
    # Semicolons between the fields are written where the comma is the decimal mark.
    if delimiter != ";" and grouped and all(_GROUPED.match(cell) for cell in grouped) and whole and max(whole) < 1000:
        raise InputError(
            f"{grouped[0]!r} may be read as {grouped[0].replace(',', '.')} or as {grouped[0].replace(',', '')}",
            file=path,
            remedy="write decimal points, and no separator of thousands",
        )
    commas = sum(bool(_COMMA.match(cell)) for cell in cells)
    return "," if commas and not any(_POINT.match(cell) for cell in cells) else "."


def _delimiter(line: str) -> str:
    return max("\t,;", key=line.count)


def _fields(line: str, delimiter: str) -> list[str]:
    if '"' not in line:
        return [field.strip() for field in line.rstrip("\r\n").split(delimiter)]
    return [field.strip() for field in next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter))]
