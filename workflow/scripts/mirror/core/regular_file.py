"""One check for every opener: a path must lead to a regular file.

Opening a named pipe (FIFO) waits for a writer that may never come, a device may never end, and a socket
cannot be opened at all. Each of them can stand under the name of a slide, a feature file, weights or a table.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from .errors import InputError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


def file_kind(path: str | Path) -> str | None:
    """Return what ``path`` leads to when that is no regular file, else None.

    Links are followed. Nothing is opened, so the call never waits.

    Parameters
    ----------
    path : path-like
        Any path.

    Returns
    -------
    str or None
        ``a named pipe (FIFO)``, ``a folder``, ``a link to a missing file`` ...; None for a regular file.
        A path that does not exist is ``missing``.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "a link to a missing file" if os.path.islink(path) else "missing"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads to itself"
        raise InputError(f"cannot be examined ({error.strerror})", file=path, remedy="check its permissions") from error
    except ValueError as error:  # a null byte
        raise InputError(f"is no path ({error})", file=repr(str(path))) from error
    if stat.S_ISREG(mode):
        return None
    return next((kind for test, kind in _KINDS if test(mode)), "no regular file")


def require_regular(path: str | Path, what: str = "file", remedy: str | None = None) -> Path:
    """Return ``path`` if it leads to a regular file once links are followed.

    Call it before any library opens a path that a user or a table names.

    Parameters
    ----------
    path : path-like
        The path to open next.
    what : str
        What was expected there, for the message (``slide``, ``feature file``, ``weights`` ...).
    remedy : str, optional
        Replaces the usual advice.

    Raises
    ------
    InputError
        The path is missing, a folder, a FIFO, a socket, a device, or a link to one of them.
    """
    kind = file_kind(path)
    if kind is None:
        return Path(path)
    if kind == "missing":
        raise InputError(f"no such {what}", file=path, remedy=remedy or "correct the path")
    raise InputError(
        f"is {kind}, not a regular file; a {what} was expected" if what != "file" else f"is {kind}, not a regular file",
        file=path,
        remedy=remedy or "give the path of a regular file",
    )


def refuse_irregular(path: str | Path, what: str = "file") -> None:
    """Raise for what exists and is no regular file; a missing path is left to the caller's own message.

    Raises
    ------
    InputError
        A folder, a FIFO, a socket, a device, or a link to one of them or to nothing.
    """
    if file_kind(path) != "missing":
        require_regular(path, what)


def open_regular(path: str | Path, what: str = "file") -> BinaryIO:
    """Open a regular file for reading without ever waiting.

    The file is opened with ``O_NONBLOCK`` and examined afterwards, so that a path which is replaced by a FIFO
    between the check and the opening is refused too.

    Raises
    ------
    InputError
        As `require_regular`; or the file may not be read.
    """
    require_regular(path, what)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror})", file=path, remedy="check its permissions") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"is not a regular file; a {what} was expected", file=path)
    return os.fdopen(handle, "rb")
