"""What often lies where a downloaded file should: recognised by its first bytes."""

from __future__ import annotations

from pathlib import Path

from .regular_file import file_kind

GIT_LFS = b"version https://git-lfs"
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")


def imposter(path: str | Path) -> tuple[str, str] | None:
    """Say what a file is when it is a git-LFS pointer, a web page or no regular file, and what to do; else None.

    Parameters
    ----------
    path : path-like
        A file; one that cannot be opened is left to whoever reads it.
    """
    kind = file_kind(path)
    if kind is not None:  # opening a FIFO would wait for ever
        return None if kind == "missing" else (f"{kind}, not a regular file", "give the path of a regular file")
    try:
        with open(path, "rb") as handle:
            head = handle.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    except OSError:
        return None
    if head.startswith(GIT_LFS):
        return "a git-LFS pointer, not the file itself", "fetch the file itself (git lfs pull)"
    if head.startswith(_PAGES):
        return "a web page, not the file itself: the download failed or asked for a login", "fetch the file again"
    return None
