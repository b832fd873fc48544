"""Recognising a slide by its content, without reading all of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from .dicom import find_series

BLOCK = 1 << 16
INNER = 8  # blocks between head and tail
INNER_BLOCK = 1 << 13  # of each file that a mirax slide consists of


def fingerprint(path: str | Path) -> str:
    """Fingerprint a file by its size, head, tail and eight blocks between.

    Reads at most 640 KiB, so that it costs milliseconds on a slide of any size. Two slides with
    the same fingerprint are the same scan for every purpose here: compressed pixels differ in
    every block between any two scans.

    Parameters
    ----------
    path : path-like
        The file. Of a mirax slide (.mrxs) the files in the folder beside it count too: names, sizes
        and heads.

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    path = Path(path)
    if path.is_dir():  # of a DICOM series the largest level stands for all
        path = find_series(path)
    size = path.stat().st_size
    digest = hashlib.blake2b(f"{size}:".encode(), digest_size=16)
    offsets = sorted({max(0, min(size - BLOCK, size * i // (INNER + 1))) for i in range(INNER + 2)})
    with open(path, "rb") as handle:
        for offset in offsets:
            handle.seek(offset)
            digest.update(handle.read(BLOCK))
    companion = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and companion.is_dir():
        # The .mrxs file itself is only a thumbnail; the pixels are in the folder beside it.
        for part in sorted(p for p in companion.iterdir() if p.suffix.lower() in (".dat", ".ini")):
            digest.update(f"{part.name}:{part.stat().st_size}:".encode())
            with open(part, "rb") as handle:
                digest.update(handle.read(INNER_BLOCK))
    return digest.hexdigest()


def find_duplicates(rows: Iterable[Mapping[str, object]]) -> dict[str, list[str]]:
    """Group slide ids that have the same content.

    Parameters
    ----------
    rows : iterable of mapping
        Each with ``slide_id`` and ``fingerprint``; rows without a fingerprint are ignored.

    Returns
    -------
    dict
        Fingerprint to its slide ids in the order seen, only where there are two or more.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        mark = row.get("fingerprint")
        if isinstance(mark, str) and mark:
            groups[mark].append(str(row["slide_id"]))
    return {mark: ids for mark, ids in groups.items() if len(ids) > 1}
