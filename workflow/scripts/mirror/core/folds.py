"""Names of folds: r{repeat}f{fold}."""

from __future__ import annotations

import re

from .errors import InputError

_FOLD = re.compile(r"r(\d+)f(\d+)")


def parse_fold(name: str) -> tuple[int, int]:
    """``r0f3`` -> (0, 3)."""
    match = _FOLD.fullmatch(name)
    if not match:
        raise InputError(f"'{name}' is no fold name", remedy="name folds r{repeat}f{fold}, for example r0f3")
    return int(match[1]), int(match[2])


def fold_name(repeat: int, fold: int) -> str:
    """(0, 3) -> ``r0f3``."""
    return f"r{repeat}f{fold}"
