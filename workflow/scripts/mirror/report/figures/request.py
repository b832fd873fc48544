"""What the figures of a target are drawn from, the same for every kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Request:
    """The figures of one target in one cohort, with one patch encoder and split scheme.

    Attributes
    ----------
    predictions : sequence of Path
        Prediction files of the target.
    metrics : Path
        ``metrics.tsv``.
    patients : Path
        ``patients.tsv`` of the cohort: covariates, no outcomes.
    names : dict
        cohort, encoder, scheme.
    target : dict
        name, kind, order.
    horizons_days : sequence of float
        ``evaluation.survival.horizons_days``.
    seed : int
        Of the bootstrap.
    folder : Path
        Takes the figures of other methods, beside those that are returned.
    """

    predictions: Sequence[Path]
    metrics: Path
    patients: Path
    names: dict[str, str]
    target: dict[str, Any]
    horizons_days: Sequence[float]
    seed: int
    folder: Path
