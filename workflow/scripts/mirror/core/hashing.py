"""Hashes of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .regular_file import refuse_irregular


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    refuse_irregular(path)
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
