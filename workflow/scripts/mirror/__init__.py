"""MIRROR: from raw slides and raw RNA-seq to results.

The library behind the workflow's scripts; it knows nothing of Snakemake. In a notebook, the functions of `mirror.api`
are there as ``mirror.open_slide`` and so on; each is loaded when it is used. Importing this package imports neither
torch nor scanpy, so that a DAG is built in a second.
"""

from __future__ import annotations

from .core.version import __version__

_PUBLIC = (
    "CoxHead", "DiscreteHead", "ElasticCoxHead", "FeatureFile", "InputError", "LogisticHead", "cross_validate", "embed",
    "encode_tiles", "find_tiles", "load_checkpoint", "load_encoder", "load_fold", "open_slide", "outcome",
    "read_clinical", "read_expression",
)  # fmt: skip
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
