"""The registry of baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from .fold_data import FoldData

    Predictions = list[tuple[str, pd.DataFrame]]
    Fit = Callable[[FoldData], Predictions]


@dataclass(frozen=True)
class Baseline:
    """One row of the registry.

    Attributes
    ----------
    name : str
    tasks : tuple of str
    modality : {"wsi", "rna", "fused", "clinical"}
    description : str
        One clause, shown in tables.
    fit : callable
        ``fit(fold: FoldData) -> list of (head, rows)``, rows as `subtyping_rows` or
        `survival_rows` give them.
    network : bool
        Whether it trains a network, and so needs torch and an environment that has it.
    fewshot : bool
        Fitted on the k-shot draws too. Not for models that are trained from scratch for minutes.
    """

    name: str
    tasks: tuple[str, ...]
    modality: str
    description: str
    fit: Fit
    network: bool = False
    fewshot: bool = True


REGISTRY: dict[str, Baseline] = {}


def baseline(
    name: str,
    *,
    tasks: tuple[str, ...],
    modality: str,
    description: str,
    network: bool = False,
    fewshot: bool = True,
) -> Callable[[Fit], Fit]:
    """Register the decorated function as a baseline."""

    def register(fit: Fit) -> Fit:
        REGISTRY[name] = Baseline(name, tasks, modality, description, fit, network, fewshot)
        return fit

    return register
