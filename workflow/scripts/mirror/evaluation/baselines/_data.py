"""What a baseline gets: one fold's patients and readers of their slides, RNA and clinic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ...config.evaluation import EvaluationSettings
from ...io.errors import InputError
from ...io.features import FeatureFile
from ..evaluate import fit_task
from ..predictions import subtyping_rows, survival_rows
from ..probe import PLAIN, Scaling
from ._registry import Unusable

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

    def pooled(self, how: str, patient: str) -> np.ndarray:
        """Mean or maximum over the patches of a slide, then the mean over a patient's slides: (D,) float64."""
        if (how, patient) not in self._pooled:
            self._pooled[how, patient] = np.mean([self._pool(how, file) for file in self.files[patient]], axis=0)
        return self._pooled[how, patient]

    @staticmethod
    def _pool(how: str, file: InFocus) -> np.ndarray:
        blocks = [
            file.rows(np.arange(start, min(file.n, start + ROWS_AT_ONCE))) for start in range(0, file.n, ROWS_AT_ONCE)
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
            return self._cache[patient][index]
        parts = []
        for file, start, stop in zip(files, edges[:-1], edges[1:], strict=True):
            inside = index[(index >= start) & (index < stop)] - start
            parts.append(file.rows(inside))
        return np.concatenate(parts)


@dataclass
class FoldData:
    """One fold of one task.

    Attributes
    ----------
    task : {"subtyping", "survival"}
    train, test : DataFrame
        Patients with a known outcome, indexed by patient_id.
    settings : EvaluationSettings
    seed : int
    slides : Slides or None
    expression : callable or None
        ``expression(patients) -> (float32 (n, G), patients that have RNA)``, with the
        transform fitted on this fold's training patients.
    notes : list of str
        What the reader should know; a baseline may add to it.
    """

    task: str
    train: pd.DataFrame
    test: pd.DataFrame
    settings: EvaluationSettings
    seed: int
    slides: Slides | None = None
    expression: Callable[[Sequence[str]], tuple[np.ndarray, list[str]]] | None = None
    notes: list[str] = field(default_factory=list)

    def rna(self) -> tuple[np.ndarray, pd.DataFrame, np.ndarray, pd.DataFrame]:
        """Training genes and patients, test genes and patients (those that have RNA)."""
        if self.expression is None:
            raise Unusable("the cohort has no expression")
        x, train = self.expression(list(self.train.index))
        x_test, test = self.expression(list(self.test.index))
        self._need(train, test, "RNA")
        return x, self.train.loc[train], x_test, self.test.loc[test]

    def with_slides(self) -> tuple[Slides, pd.DataFrame, pd.DataFrame]:
        """The slides, and the training and test patients that have any."""
        if self.slides is None:
            raise Unusable("the cohort has no patch features")
        train = [p for p in self.train.index if p in self.slides.files]
        test = [p for p in self.test.index if p in self.slides.files]
        self._need(train, test, "slides")
        return self.slides, self.train.loc[train], self.test.loc[test]

    def pooled(self, how: str) -> tuple[np.ndarray, pd.DataFrame, np.ndarray, pd.DataFrame]:
        """Pooled patch features of training and test patients, as `rna` gives genes."""
        slides, train, test = self.with_slides()
        x, x_test = (np.stack([slides.pooled(how, p) for p in part.index]) for part in (train, test))
        return x, train, x_test, test

    def linear(self, x, train, x_test, test, head: str, scaling: Scaling = PLAIN) -> tuple[str, pd.DataFrame]:
        """A linear head on given features: (head, rows)."""
        rows, notes = fit_task(self.task, head, x, train, x_test, test, self.settings, self.seed, scaling)
        self.notes += notes
        return head, rows

    @property
    def clipped(self) -> Scaling:
        """Scaling of expression."""
        return Scaling(self.settings.baseline.clip)

    def heads(self) -> list[str]:
        """Linear heads of the task."""
        return ["logistic"] if self.task == "subtyping" else list(self.settings.survival.models)

    def outcome(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Days and events of some patients."""
        return table["time_days"].to_numpy(float), table["event"].to_numpy(float).astype(int)

    def class_rows(self, test: pd.DataFrame, classes: Sequence[str], p: np.ndarray) -> pd.DataFrame:
        """`subtyping_rows` of test patients."""
        return subtyping_rows(test.index, test["label"].to_numpy(str), classes, p)

    def risk_rows(self, test, risk, threshold, times, survival) -> pd.DataFrame:
        """`survival_rows` of test patients."""
        return survival_rows(test.index, *self.outcome(test), risk, threshold, times, survival)

    @staticmethod
    def _need(train: Sequence[str], test: Sequence[str], what: str) -> None:
        if not len(train) or not len(test):
            raise Unusable(f"no {'training' if not len(train) else 'test'} patients with {what}")
