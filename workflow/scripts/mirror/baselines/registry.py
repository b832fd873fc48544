"""The registry of baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from .method import Method


@dataclass(frozen=True)
class Baseline:
    """One row of the registry: what stands in the decorator, and the decorated class.

    Attributes
    ----------
    name : str
    kinds : tuple of str
        Kinds of target that it predicts.
    modality : {"wsi", "rna", "fused", "clinical"}
    description : str
        One clause, shown in tables.
    method : type of Method
    title : str
        Name in tables and figures.
    order : int
        Place in tables and figures, smallest first.
    heads : mapping
        Heads of its own and what they are called where a method has several; linear heads need no entry.
    gpu : bool
        Whether a job waits for a GPU, where there is one.
    network : bool
        Whether it trains a network, and so needs torch and an environment that has it.
    fewshot : bool
        Whether it is fitted on the k-shot draws too. Not for models that are trained from scratch for minutes.
    """

    name: str
    kinds: tuple[str, ...]
    modality: str
    description: str
    method: type[Method]
    title: str = ""
    order: int = 1000
    heads: Mapping[str, str] = field(default_factory=dict)
    gpu: bool = False
    network: bool = False
    fewshot: bool = True


REGISTRY: dict[str, Baseline] = {}
M = TypeVar("M", bound=type[Method])


def baseline(
    name: str,
    *,
    kinds: tuple[str, ...],
    modality: str,
    description: str,
    title: str = "",
    order: int = 1000,
    heads: Mapping[str, str] | None = None,
    gpu: bool = False,
    network: bool = False,
    fewshot: bool = True,
) -> Callable[[M], M]:
    """Register the decorated class as a baseline.

    The arguments must be written out: the workflow reads them without importing the file
    (`mirror.plan.registry.find_baselines`). For their meaning see `Baseline`.
    """

    def register(method: M) -> M:
        REGISTRY[name] = Baseline(
            name, kinds, modality, description, method, title, order, heads or {}, gpu, network, fewshot
        )
        return method

    return register
