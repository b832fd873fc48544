"""Lines around the header of a clinical table: ``sep=;``, titles, units, second header lines, decimal commas."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ...core.barcodes import parse as parse_barcode
from ...core.errors import InputError
from ...core.facts import Facts, one_line
from ..opening import container, open_text
from ..tables import read_table, unique_names
from .base import DECIMAL_COMMA, blank, numbers_of

_HEAD = 60
_SECOND = 3  # so many lines below the header may belong to it
_SEP = re.compile(r"^\ufeff?\"?sep=(.)\"?[\t,;]*$", re.IGNORECASE)
_TYPES = {"string", "number", "boolean", "text", "numeric", "integer", "int", "float", "double", "date", "character",
          "factor", "categorical", "char", "logical", "datetime"}  # fmt: skip
_UNIT = re.compile(
    r"^[\[({]?\s*(?P<unit>days?|d|months?|mos?|m|years?|yrs?|y|weeks?|%|n|cm|mm|kg|yyyy|0/1|0\s*=.*|1\s*=.*|yes/no|y/n|m/f)"
    r"\s*[\])}]?$", re.IGNORECASE)  # fmt: skip
_DESCRIPTION = re.compile(r"^(#|unit|units|description|patient identifier|identifier|id|type|cde_id.*)$", re.IGNORECASE)


class RawTable(NamedTuple):
    """A clinical table as text.

    Attributes
    ----------
    frame : DataFrame
        Every cell as stripped text; rows of patients only.
    units : dict
        Column to the time unit that a line of units states: days, months or years.
    """

    frame: pd.DataFrame
    units: dict[str, str]


def read_raw(path: str | Path, facts: Facts, without: tuple[str, ...] = ()) -> RawTable:
    """Read a clinical table whatever stands around its header.

    Parameters
    ----------
    path : path-like
        Text (compressed or not) or parquet.
    facts : Facts
        Takes what was skipped.
    without : tuple of str
        Endings of columns that are not read.

    Raises
    ------
    InputError
        Where a line below the header is neither a row of patients nor a known kind of header line; names it.
    """
    if container(path) == "parquet":
        return RawTable(read_table(path, without), {})
    lines, comments = _head(path)
    start, delimiter, ordinary = _find_header(lines)
    if ordinary:
        frame, first_line = read_table(path, without), comments + start + 2
    else:
        for number, line in enumerate(lines[:start], start=comments + 1):
            if line.strip():
                facts.note("line above the header", one_line(line, 80), f"line {number}, not read")
        frame, first_line = _read(path, comments + start, delimiter, without), comments + start + 2
    frame, units = _drop_header_rows(frame, first_line, facts, path)
    if delimiter == ";":  # no comma is a delimiter there: in a column of numbers it is the decimal mark
        frame = frame.apply(_decimal_points)
    return RawTable(frame, units)


def _decimal_points(column: pd.Series) -> pd.Series:
    """Write decimal points in a column whose commas all stand inside numbers."""
    cells = column[column.str.contains(",", regex=False)]
    if cells.empty or not cells.str.fullmatch(DECIMAL_COMMA).all():
        return column
    return column.str.replace(",", ".", regex=False)


def _head(path: str | Path) -> tuple[list[str], int]:
    """The first lines behind comments and blank lines, and how many lines those were."""
    with open_text(path) as text:
        lines = [line.rstrip("\r\n") for _, line in zip(range(_HEAD), text, strict=False)]
    comments = 0
    while comments < len(lines) and (lines[comments].startswith("#") or not lines[comments].strip()):
        comments += 1
    return lines[comments:], comments


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return [field.strip() for field in line.split(delimiter)]


def _filled(fields: list[str]) -> int:
    return sum(bool(field) for field in fields)


def _find_header(lines: list[str]) -> tuple[int, str, bool]:
    """Return (index of the header line, delimiter, whether an ordinary reader finds it too)."""
    if not lines:
        return 0, ",", True
    body = [(i, line) for i, line in enumerate(lines) if line.strip()]
    own = max("\t,;", key=lines[0].count)
    given = _SEP.match(lines[0].strip())
    counts = [len(_fields(line, own)) for _, line in body]
    names = _fields(lines[0], own)
    plain = len(set(counts[1:])) <= 1 and (len(counts) < 2 or counts[0] in (counts[1], counts[1] - 1))
    if not given and plain:
        rest = [_filled(_fields(line, own)) for _, line in body[1:]]
        title = len(names) >= 3 and _filled(names) <= max(1, len(names) // 4) and rest and max(rest) > len(names) // 2
        if not title and (counts[0] > 1 or len(body) < 2):
            return 0, own, True
    delimiters = [given[1] if given[1] != "\\" else "\t"] if given else list("\t;,")
    best: tuple[int, int, int, str] | None = None
    for delimiter in delimiters:
        numbered = [(i, _fields(line, delimiter)) for i, line in body if not (given and i == 0)]
        widths = Counter(len(fields) for _, fields in numbered if len(fields) > 1)
        if not widths:
            continue
        width, lines_of_it = max(widths.items(), key=lambda item: (item[1], item[0]))
        at = next(
            (
                i
                for i, fields in numbered
                if len(fields) == width and 2 * _filled(fields) >= width and _filled(fields) > 1
            ),
            None,
        )
        if at is not None and (best is None or (lines_of_it, width) > best[:2]):
            best = (lines_of_it, width, at, delimiter)
    if best is None:
        return 0, own, True  # the ordinary reader says what is wrong
    _, _, at, delimiter = best
    if not given and at == 0 and delimiter == own:
        return 0, own, True
    return at, delimiter, False


def _read(path: str | Path, skip: int, delimiter: str, without: tuple[str, ...]) -> pd.DataFrame:
    """Read from the header line on, every cell as text."""
    with open_text(path) as text:
        for _ in range(skip):
            text.readline()
        try:
            rows = [row for row in csv.reader(text, delimiter=delimiter, skipinitialspace=True) if any(row)]
        except csv.Error as error:
            raise InputError(f"cannot be read as a table: {error}", file=path) from error
    names = [name.strip() for name in rows[0]]
    while names and not names[-1] and all(len(row) < len(names) or not row[len(names) - 1] for row in rows[1:]):
        names.pop()  # a spreadsheet ends every line with delimiters
    for number, row in enumerate(rows[1:], start=skip + 2):
        if len(row) < len(names) or any(row[len(names) :]):
            raise InputError(
                f"has {len(row)} fields where the header has {len(names)}", file=path, row=f"line {number}"
            )
    if len(rows) < 2:
        raise InputError("has a header but no rows", file=path)
    frame = pd.DataFrame([[cell.strip() for cell in row[: len(names)]] for row in rows[1:]], dtype=str)
    frame.columns = pd.Index(unique_names(names))
    keep = [c for c in frame.columns if not (without and c.lower().endswith(without))]
    return frame[keep].astype(object)


def _drop_header_rows(
    frame: pd.DataFrame, first_line: int, facts: Facts, path: str | Path
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Leave out the lines below the header that describe columns; raise where one cannot be told."""
    units: dict[str, str] = {}
    drop: list[int] = []
    header = [str(c).strip().lower() for c in frame.columns]
    cells = frame.to_numpy(dtype=object)
    repeated = [i for i, row in enumerate(cells) if [str(v).strip().lower() for v in row] == header and len(header) > 1]
    head = min(_SECOND, len(frame) - 1)
    numeric, ids = _kinds(frame.iloc[head if len(frame) > head + 3 else min(1, head) :])
    for at in range(head):
        kind = _kind_of_line(frame, at, numeric, ids, path, first_line + at)
        if kind is None:
            break
        drop.append(at)
        tell = facts.warn if kind == "description" else facts.note
        tell("header line below the header", f"{kind}: {one_line(', '.join(map(str, cells[at])), 80)}",
             f"line {first_line + at}, not a patient")  # fmt: skip
        if kind == "units":
            for column, cell in zip(frame.columns, cells[at], strict=True):
                found = _UNIT.match(str(cell))
                unit = found["unit"].lower() if found else ""
                for name, short in (("days", ("d", "day", "days")), ("months", ("mo", "mos", "month", "months")),
                                    ("years", ("y", "yr", "yrs", "year", "years"))):  # fmt: skip
                    if unit in short:
                        units[str(column)] = name
    for at in repeated:
        if at not in drop:
            drop.append(at)
            facts.note("header repeated", f"line {first_line + at}", "not a patient")
    if drop:
        frame = frame.drop(index=frame.index[drop]).reset_index(drop=True)
    return frame, units


def _kinds(rest: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Columns of numbers, and columns of identifiers (all different, nearly all with a digit), of the rows below."""
    numeric, ids = [], []
    for column in rest.columns:
        text = blank(rest[column])
        some = text.dropna()
        if len(some) < 2:
            continue
        try:
            number = numbers_of(some, decimal=",")
        except InputError:
            continue
        if number.notna().mean() >= 0.9:
            numeric.append(str(column))
        elif some.is_unique or some.nunique() >= 0.4 * len(some):
            digits = some.astype("string").str.contains(r"\d", regex=True).mean()
            if digits >= 0.95:
                ids.append(str(column))
    return numeric, ids


def _kind_of_line(
    frame: pd.DataFrame, at: int, numeric: list[str], ids: list[str], path: str | Path, line: int
) -> str | None:
    """Return what kind of header line a row is, None for a row of a patient."""
    row = {str(c): str(v).strip() for c, v in zip(frame.columns, frame.iloc[at], strict=True)}
    filled = {c: v for c, v in row.items() if v}
    low = {c: v.lower() for c, v in filled.items()}
    if not filled:
        return "empty"
    if any(v.startswith("cde_id") for v in low.values()):
        return "identifiers of data elements"
    same = sum(v in (c.lower(), re.sub(r"\.\d+$", "", c.lower())) for c, v in low.items())
    if len(filled) > 1 and 2 * same >= len(filled):
        return "names again"
    if len(filled) > 1 and all(v in _TYPES for v in low.values()):
        return "types"
    has_number = any(blank(pd.Series([row[c]])).notna()[0] and _is_number(row[c]) for c in numeric)
    texts = [c for c in numeric if row[c] and pd.notna(blank(pd.Series([row[c]]))[0]) and not _is_number(row[c])]
    no_id = bool(ids) and all(not re.search(r"\d", row[c]) and parse_barcode(row[c]) is None for c in ids)
    if has_number:
        return None
    marked = [c for c in filled if _UNIT.match(row[c])]
    others = [c for c in filled if c not in marked]
    if marked and not any(c in ids and re.search(r"\d", row[c]) for c in others):
        described = all(_DESCRIPTION.match(row[c]) or c not in numeric for c in others)
        if described and (any(c in numeric for c in marked) or no_id):
            return "units"
    if not no_id:
        if len(texts) > 1 and len(texts) == len([c for c in numeric if row[c]]):
            raise InputError(
                f"columns {', '.join(texts[:3])} hold numbers below and words here ({one_line(row[texts[0]], 40)}): a "
                "second header line, or a damaged row",
                file=path,
                row=f"line {line}",
                remedy="delete the line if it describes the columns, or correct it",
            )
        return None
    if texts:
        return "description"
    if numeric:
        return None  # an unusual identifier beside missing numbers
    familiar = any(
        row[c] and (frame[c].iloc[at + 1 :] == row[c]).any() for c in map(str, frame.columns) if c not in ids
    )
    plain = [c for c in map(str, frame.columns) if c not in ids and row[c]]
    return None if familiar or not plain else "description"


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", cell))
