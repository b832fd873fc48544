"""Opening what people hand over: plain, gzip, bzip2, xz or a zip with one table inside.

Nothing is ever extracted to disk, so a zip member named ``../../x`` is harmless. A git-LFS pointer, a
web page saved under a table's name, a spreadsheet workbook and a download that broke off are each
refused with one clear `InputError`.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import difflib
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from ..core.errors import InputError
from ..core.memory import in_words, job_memory
from ..core.regular_file import file_kind
from .bounded import BoundedStream, table_limit

if TYPE_CHECKING:
    import pandas as pd

_SEP_LINE = re.compile(r"^\ufeff?\"?sep=(.)\"?[\t,;]*\s*$", re.IGNORECASE)
_COMMA = re.compile(r"^[+-]?\d+,\d+(?:[eE][+-]?\d+)?$")
_GROUPED = re.compile(r"^[+-]?[1-9]\d{0,2}(?:,\d{3})+$")
_POINT = re.compile(r"^[+-]?\d*\.\d+(?:[eE][+-]?\d+)?$")
_HEAD_CHARS = 32 << 20
_TABLES = (".csv", ".tsv", ".txt", ".tab")
_ID_HEADERS = {"id", "sample", "probe", "gene", "ensembl_id", "identifier", "xena_sample", "gene_id", "transcript_id"}


def _latin1(error: UnicodeError) -> tuple[str, int]:
    """Read the bytes that are not UTF-8 as Latin-1: old clinical tables mix both."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("mirror_latin1", _latin1)


def require_file(path: str | Path) -> Path:
    """Return ``path`` as a `Path`, or raise `InputError` when there is no such file or it is empty."""
    path = Path(path)
    if path.is_dir():
        raise InputError("is a folder; a file was expected", file=path)
    kind = file_kind(path)
    if kind is not None and kind != "missing":
        raise InputError(f"is {kind}, not a regular file", file=path, remedy="give the path of the file itself")
    if kind == "missing":
        near = difflib.get_close_matches(path.name, [p.name for p in _siblings(path)], n=2)
        hint = f"; is it {' or '.join(near)}?" if near else ""
        raise InputError("no such file" + hint, file=path, remedy="correct the path in the config")
    if path.stat().st_size == 0:
        raise InputError("is empty (0 bytes)", file=path, remedy="download or export it again")
    return path


def _siblings(path: Path) -> list[Path]:
    try:
        return list(path.parent.iterdir())
    except OSError:
        return []


def container(path: str | Path) -> str:
    """Tell by its first bytes what holds the data.

    Returns
    -------
    str
        ``plain``, ``gzip``, ``bzip2``, ``xz``, ``zip``, ``parquet`` or ``hdf5``.

    Raises
    ------
    InputError
        For an absent or empty file, a workbook, a git-LFS pointer or a web page.
    """
    path = require_file(path)
    with path.open("rb") as handle:
        head = handle.read(512)
    for magic, kind in (
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"PK\x03\x04", "zip"),
        (b"PAR1", "parquet"),
        (b"\x89HDF\r\n\x1a\n", "hdf5"),
    ):
        if head.startswith(magic):
            return kind
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise InputError("is an Excel workbook", file=path, remedy="save it as CSV")
    refuse_non_table(head, path)
    if path.suffix.lower() in {".gz", ".bz2", ".xz", ".zip", ".parquet", ".h5ad"}:
        raise InputError(
            f"is named {path.suffix} but its content is not", file=path, remedy="download it again or rename it"
        )
    return "plain"


def refuse_non_table(head: bytes, path: str | Path) -> None:
    """Raise `InputError` when the first bytes of a decompressed file show that it is no table."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        raise InputError(
            "is a git-LFS pointer, not the data", file=path, remedy="run `git lfs pull` where it came from"
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise InputError(
            "is a web page saved under a table's name (an expired link or a log-in page)",
            file=path,
            remedy="download it again",
        )
    if text.startswith((b'{"error', b'{"message', b'{"warnings')):
        raise InputError("is a server's error message, not a table", file=path, remedy="download it again")
    if b"\x00" in head[:512] and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("is binary, not a table", file=path, remedy="export it as CSV, TSV, parquet or h5ad")


@contextmanager
def open_binary(path: str | Path, limit: int | None = None) -> Iterator[BinaryIO]:
    """Open a table for reading as a decompressed byte stream.

    Errors of decompression that arise inside the ``with`` block (a truncated download is noticed only
    at its end) become an `InputError`.

    Parameters
    ----------
    path : path-like
        The table.
    limit : int, optional
        Most decompressed bytes. A line is bounded in any case (`bounded.MAX_LINE`).

    Yields
    ------
    binary file
        Positioned at the start of the content. UTF-16 (a spreadsheet's "Unicode text") comes as UTF-8.
    """
    path = Path(path)
    kind = container(path)
    if kind in {"parquet", "hdf5"}:
        raise InputError(f"is a {kind} file; a text table was expected", file=path)
    try:
        with _stream(path, kind) as stream:
            bounded = BoundedStream(stream, path, limit)
            buffered = io.BufferedReader(bounded, buffer_size=1 << 20)
            head = buffered.peek(512)[:512]
            if not head.strip():
                raise InputError("holds nothing after decompression", file=path, remedy="download it again")
            refuse_non_table(head, path)
            if head.startswith((b"\xff\xfe", b"\xfe\xff")):
                buffered = io.BufferedReader(_Utf8(buffered), buffer_size=1 << 20)  # type: ignore[arg-type]
            yield buffered
    except UnicodeError as error:
        raise InputError(f"broken off or damaged text ({error})", file=path, remedy="save it as UTF-8") from error
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise InputError(
            f"broken off or damaged {kind} ({error})", file=path, remedy="download it again and compare checksums"
        ) from error


class _Utf8(io.RawIOBase):
    """A UTF-16 stream read as UTF-8."""

    def __init__(self, stream: BinaryIO) -> None:
        self._text = io.TextIOWrapper(stream, encoding="utf-16", newline="")
        self._rest = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; 0 at the end."""
        if not self._rest:
            self._rest = self._text.read(1 << 16).encode()
        n = min(len(buffer), len(self._rest))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n


@contextmanager
def _stream(path: Path, kind: str) -> Iterator[IO[bytes]]:
    if kind == "zip":
        with zipfile.ZipFile(path) as archive:
            member = only_member(archive, path)
            if member.flag_bits & 1:
                raise InputError("the zip is encrypted", file=path, remedy="unpack it with its password first")
            with archive.open(member) as stream:
                yield stream
        return
    openers: dict[str, Callable[[Path], Any]] = {"gzip": gzip.GzipFile, "bzip2": bz2.BZ2File, "xz": lzma.LZMAFile}
    opener = openers.get(kind)
    with opener(path) if opener else path.open("rb", buffering=0) as stream:
        yield stream


def only_member(archive: zipfile.ZipFile, path: str | Path) -> zipfile.ZipInfo:
    """Return the one table in a zip; its stored name (``./x``, ``../x``) is never used as a path."""
    members = [
        info
        for info in archive.infolist()
        if not info.is_dir() and "__MACOSX" not in info.filename and not _base(info.filename).startswith(("._", ".DS"))
    ]
    if any(info.filename == "[Content_Types].xml" for info in members):
        raise InputError("is an Excel workbook", file=path, remedy="save it as CSV")
    tables = [info for info in members if _bare(info.filename).endswith(_TABLES)]
    chosen = tables if tables else members
    if len(chosen) != 1:
        names = ", ".join(_base(info.filename) for info in chosen[:5]) or "none"
        raise InputError(f"the zip must hold one table, it holds {len(chosen)}: {names}", file=path)
    return chosen[0]


def _base(name: str) -> str:
    """A member's last part, whichever slash the packer used."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _bare(name: str) -> str:
    """A member's name in lower case without a nested ``.zip`` or ``.gz`` (PORPOISE: x.csv.zip within x.csv.zip)."""
    name = name.lower()
    for suffix in (".zip", ".gz"):
        name = name.removesuffix(suffix)
    return name


@contextmanager
def open_text(path: str | Path, limit: int | None = None) -> Iterator[IO[str]]:
    """Open a table for reading as text: UTF-8 (byte-order mark allowed), stray bytes as Latin-1, or UTF-16."""
    with (
        open_binary(path, limit) as stream,
        io.TextIOWrapper(stream, encoding="utf-8-sig", errors="mirror_latin1", newline="") as text,
    ):
        yield text


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
