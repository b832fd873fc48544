"""Baselines trained in the same folds. Adding one is adding one file to the folder ``methods``.

A file holds one class, decorated with `baseline`, that fits on a fold's training patients and
predicts patients (`mirror.baselines.method.Method`).
"""

from __future__ import annotations

from importlib import import_module

from ..core.errors import InputError
from ..plan.registry import find_baselines
from .fold_data import Unusable
from .method import LinearMethod, Method, Predicted
from .registry import REGISTRY, Baseline, baseline

__all__ = [
    "REGISTRY",
    "Baseline",
    "LinearMethod",
    "Method",
    "Predicted",
    "Unusable",
    "baseline",
    "find_baseline",
    "load_all",
]


def find_baseline(name: str) -> Baseline:
    """The baseline of this name. Its file alone is imported.

    Raises
    ------
    InputError
        There is none.
    """
    known = find_baselines()
    if name not in known:
        raise InputError(f"no baseline is called '{name}'", remedy=f"choose among {', '.join(sorted(known))}")
    import_module(f"{__name__}.methods.{known[name].file.stem}")
    return REGISTRY[name]


def load_all() -> dict[str, Baseline]:
    """Every baseline by name; imports all their files."""
    return {name: find_baseline(name) for name in find_baselines()}
