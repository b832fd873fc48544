"""Opening what people hand over: plain, gzip, bzip2, xz or a zip with one table inside.

Nothing is ever extracted to disk, so a zip member named ``../../x`` is harmless. A git-LFS pointer, a
web page saved under a table's name, a spreadsheet workbook and a download that broke off are each
refused with one clear `InputError`.
"""

from __future__ import annotations

import bz2
import codecs
import difflib
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from ..core.errors import InputError
from ..core.regular_file import file_kind
from .bounded import BoundedStream

if TYPE_CHECKING:
    pass

_TABLES = (".csv", ".tsv", ".txt", ".tab")


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
