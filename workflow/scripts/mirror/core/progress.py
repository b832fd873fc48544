"""A progress bar for long loops."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Iterate with a progress bar (throughput, time left) that stays quiet in log files."""
    from tqdm.auto import tqdm

    yield from tqdm(
        items, desc=what, total=total, unit=unit, mininterval=1.0, disable=None, file=sys.stderr, dynamic_ncols=True
    )
