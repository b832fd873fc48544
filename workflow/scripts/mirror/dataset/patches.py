"""Patch features of a cohort's slides, read a bag at a time."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.errors import InputError
from ..io.features import FeatureFile

if TYPE_CHECKING:  # PyTorch is imported where slides are scaled, and not by linear baselines that scale nothing
    from ..model.input_scaling import InputScaling

CACHE_BYTES = 1 << 30

ROWS_AT_ONCE = 8192


class InFocus:
    """The patches of a slide that are in focus; all of them where none is, as for the models.

    Parameters
    ----------
    file : FeatureFile
    min_focus : float or None
        Least focus score; None keeps every patch.
    """

    def __init__(self, file: FeatureFile, min_focus: float | None) -> None:
        sharp = None if min_focus is None else file.in_focus(min_focus)
        self.index = None if sharp is None or len(sharp) in (0, file.n) else sharp
        self.file, self.width = file, file.width
        self.n = file.n if self.index is None else len(self.index)

    def rows(self, wanted: np.ndarray) -> np.ndarray:
        """Some patches, float32 (k, D)."""
        return self.file.rows(wanted if self.index is None else self.index[wanted])

    def all(self) -> np.ndarray:
        """Every patch, float32 (n, D)."""
        return self.file.all() if self.index is None else self.file.rows(self.index)


class Slides:
    """Patch features of patients, pooled or as bags. Small cohorts stay in memory.

    Parameters
    ----------
    table : DataFrame
        slide_id, patient_id.
    folder : path-like
        ``{slide_id}.h5``.
    min_focus : float, optional
        See `InFocus`.
    """

    def __init__(self, table: pd.DataFrame, folder: str | Path, min_focus: float | None = None) -> None:
        folder = Path(folder)
        self.files: dict[str, list[InFocus]] = {}
        for slide, patient in zip(table["slide_id"].astype(str), table["patient_id"].astype(str), strict=True):
            file = InFocus(FeatureFile(folder / f"{slide}.h5"), min_focus)
            if file.n:
                self.files.setdefault(patient, []).append(file)
        widths = {file.width for files in self.files.values() for file in files}
        if len(widths) > 1:
            raise InputError(f"slides with features of different widths {sorted(widths)}", file=folder)
        self.width = widths.pop() if widths else 0
        self._pooled: dict[tuple[str, str], np.ndarray] = {}
        size = sum(file.n * file.width * 4 for files in self.files.values() for file in files)
        self._cache: dict[str, np.ndarray] | None = {} if size <= CACHE_BYTES else None
        self._scaling: InputScaling | None = None

    def scaled(self, kind: str, patients: Sequence[str]) -> Slides:
        """The same slides with every patch feature on a common scale (`InputScaling`), as the models see them.

        Parameters
        ----------
        kind : {"none", "clip", "ranks"}
        patients : sequence of str
            Training patients: the statistics are those of their patches.
        """
        if kind == "none" or not self.width:
            return self
        files = [file for patient in patients for file in self.files.get(patient, [])]
        if not files:
            return self
        import torch

        from ..model.input_scaling import InputScaling, Sample

        sample = Sample(len(files))
        for file in files:
            rows = np.unique(np.linspace(0, file.n - 1, min(file.n, sample.each)).round().astype(np.int64))
            sample.add(torch.from_numpy(file.rows(rows)))
        other = copy(self)
        other._scaling, other._pooled = InputScaling(kind, self.width), {}
        other._scaling.fit(sample.result())
        return other

    def _scale(self, rows: np.ndarray) -> np.ndarray:
        if self._scaling is None:
            return rows
        import torch

        return self._scaling(torch.from_numpy(np.ascontiguousarray(rows))).numpy()

    def pooled(self, how: str, patient: str) -> np.ndarray:
        """Mean or maximum over the patches of a slide, then the mean over a patient's slides: (D,) float64."""
        if (how, patient) not in self._pooled:
            self._pooled[how, patient] = np.mean([self._pool(how, file) for file in self.files[patient]], axis=0)
        return self._pooled[how, patient]

    def _pool(self, how: str, file: InFocus) -> np.ndarray:
        blocks = [
            self._scale(file.rows(np.arange(start, min(file.n, start + ROWS_AT_ONCE))))
            for start in range(0, file.n, ROWS_AT_ONCE)
        ]
        if how == "mean":
            return np.sum([block.sum(axis=0, dtype=np.float64) for block in blocks], axis=0) / file.n
        return np.max([block.max(axis=0) for block in blocks], axis=0).astype(np.float64)

    def patches(self, patient: str) -> int:
        """Patches of a patient, over all its slides."""
        return sum(file.n for file in self.files[patient])

    def bag(self, patient: str, size: int, rng: np.random.Generator) -> np.ndarray:
        """At most ``size`` random patches of a patient, over all its slides, without replacement: (k, D) float32."""
        files = self.files[patient]
        edges = np.cumsum([0, *(file.n for file in files)])
        total = int(edges[-1])
        index = np.arange(total) if total <= size else np.sort(rng.choice(total, size, replace=False))
        if self._cache is not None:
            if patient not in self._cache:
                self._cache[patient] = np.concatenate([file.all() for file in files])
            return self._scale(self._cache[patient][index])
        parts = []
        for file, start, stop in zip(files, edges[:-1], edges[1:], strict=True):
            inside = index[(index >= start) & (index < stop)] - start
            parts.append(file.rows(inside))
        return self._scale(np.concatenate(parts))
