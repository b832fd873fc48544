"""Baselines trained in the same folds. Adding one is adding one file to the folder ``methods``.

A file holds one function, decorated with `baseline`, that fits on ``fold.train`` and returns
its predictions for ``fold.test``.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from .fold_data import Unusable
from .registry import REGISTRY, Baseline, baseline

__all__ = ["REGISTRY", "Baseline", "Unusable", "baseline", "find_baseline", "load_all"]


def load_all() -> dict[str, Baseline]:
    """Import every file of this folder and return the registry by name."""
    for path in sorted((Path(__file__).parent / "methods").glob("[a-z]*.py")):
        import_module(f"{__name__}.methods.{path.stem}")
    return REGISTRY


def find_baseline(name: str) -> Baseline:
    """The baseline of this name.

    Raises
    ------
    InputError
        There is none.
    """
    from ..core.errors import InputError

    known = load_all()
    if name not in known:
        raise InputError(f"no baseline is called '{name}'", remedy=f"choose among {', '.join(sorted(known))}")
    return known[name]
