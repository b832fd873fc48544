"""Reading clinical tables: one file per format, what they share and plausibility."""

from __future__ import annotations


def __getattr__(name: str) -> object:
    """Give `read_clinical` without importing pandas with the package."""
    if name == "read_clinical":
        from .read import read_clinical

        return read_clinical
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
