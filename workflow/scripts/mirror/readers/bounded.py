"""A stream that refuses to grow without end: one endless line, or more bytes than the job's memory allows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any

from ..core.errors import InputError
from ..core.memory import in_words, job_memory

LINE_SHARE = 1 / 128
_TABLE = 256 << 20
MAX_LINE = 64 << 20
"""Longest line of a table in bytes; less where the job's memory is small (`LINE_SHARE` of it).

A line of 64 MB holds three million cells of 20 characters. Cells become Python text of about 20 times the size."""


class BoundedStream(io.RawIOBase):
    """Pass bytes through and count them.

    Parameters
    ----------
    stream : binary file
        Decompressed bytes.
    path : path-like
        Named in errors.
    limit : int or None
        Most bytes in all; None sets no limit.

    Attributes
    ----------
    total : int
        Bytes passed so far.
    last : bytes
        The last byte, which tells whether a text ends with a line end.
    """

    def __init__(self, stream: IO[bytes], path: str | Path, limit: int | None = None) -> None:
        self._stream, self._path, self._limit = stream, path, limit
        self._longest = min(MAX_LINE, int(job_memory() * LINE_SHARE))
        self._line = 0
        self.total = 0
        self.last = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; 0 at the end.

        Raises
        ------
        InputError
            A line or the whole is longer than allowed.
        """
        data = self._stream.read(min(len(buffer), 1 << 20))
        n = len(data)
        if not n:
            return 0
        buffer[:n] = data
        self.total += n
        self.last = data[-1:]
        end = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self._line = self._line + n if end < 0 else n - end - 1
        if self._line > self._longest:
            raise InputError(
                f"has a line of more than {in_words(self._longest)}: it is no table, or its line ends are missing",
                file=self._path,
                remedy="export it again with one row per line",
            )
        if self._limit is not None and self.total > self._limit:
            raise InputError(
                f"holds more than {in_words(self._limit)} once decompressed, which is what this job's memory allows",
                file=self._path,
                remedy="raise mem_mb of the rule (--set-resources) if the file is genuine",
            )
        return n


def table_limit(share: float = 1 / 12) -> int:
    """Bytes of text that a table read as a whole may hold: each byte becomes about ten in memory."""
    return min(_TABLE, int(job_memory() * share))


def ends_in_a_line(stream: Any) -> bool:
    """Whether the text read from `readers.opening.open_binary` ended with a line end; True where that is not known."""
    last = getattr(getattr(stream, "raw", None), "last", b"")
    return last in (b"", b"\n", b"\r")
