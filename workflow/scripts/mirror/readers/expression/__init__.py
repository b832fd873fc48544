"""Reading expression: one file per format, one for recognising it, and the policies every format shares."""

from __future__ import annotations


def __getattr__(name: str) -> object:
    """Give `read_expression` and `write_expression` without importing pandas with the package."""
    if name in {"read_expression", "write_expression"}:
        from . import read as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
