"""What every expression reader returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Select = Callable[[Sequence[str]], np.ndarray]
"""Given all sample identifiers of a file, the positions (int64, ascending) of those to read."""


@dataclass
class RawMatrix:
    """Expression as a file holds it, samples in rows, only the wanted samples.

    Attributes
    ----------
    values : numpy.ndarray
        float32 (samples, genes); missing cells are NaN.
    samples : list of str
        Identifiers as the file writes them.
    genes : pandas.DataFrame
        One row per gene: column ``id`` as the file writes it, and where known ``symbol``, ``entrez``, ``gene_type``.
    kind : str or None
        What the format says the values are (``counts``, ``tpm`` ...); None when it says nothing.
    named : str or None
        What the file's name speaks of; weaker than the numbers.
    notes : dict
        What the reader saw, left out or changed; goes to the provenance.
    """

    values: np.ndarray
    samples: list[str]
    genes: pd.DataFrame
    kind: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    named: str | None = None


class Blocks:
    """Collects (genes, samples) blocks and joins them as (samples, genes) while freeing each block.

    Peak memory is about one copy of the result and one block, not two copies of the result.
    """

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        """Add a float32 block of shape (genes, samples)."""
        self._blocks.append(block)

    def join(self, n_samples: int) -> np.ndarray:
        """Return float32 (samples, all genes); the blocks are gone afterwards."""
        out = np.empty((n_samples, sum(len(block) for block in self._blocks)), np.float32)
        stop = out.shape[1]
        while self._blocks:
            block = self._blocks.pop()
            out[:, stop - len(block) : stop] = block.T
            stop -= len(block)
        return out


def kind_from_name(path: str | Path) -> str | None:
    """Return the kind of values a file's name speaks of, None when it says nothing."""
    name = Path(path).name.lower()
    for token, kind in (
        ("zscore", "zscore"),
        ("z_score", "zscore"),
        ("log2", "log2"),
        ("log1p", "log1p"),
        ("fpkm", "fpkm"),
        ("tpm", "tpm"),
        ("count", "counts"),
    ):
        if token in name:
            return kind
    return None
