"""What a baseline gets: one fold's patients and readers of their slides, RNA and clinic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..dataset.patches import Slides
from ..heads.scaling import PLAIN, Scaling
from ..targets.classes import subtyping_rows
from ..targets.fit import fit_task
from ..targets.survival import survival_rows


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
    device : str
        Where a network trains.
    """

    task: str
    train: pd.DataFrame
    test: pd.DataFrame
    settings: EvaluationSettings
    seed: int
    slides: Slides | None = None
    expression: Callable[[Sequence[str]], tuple[np.ndarray, list[str]]] | None = None
    notes: list[str] = field(default_factory=list)
    device: str = "cpu"

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


class Unusable(ValueError):
    """The cohort lacks what a baseline needs; its message says what. It yields no rows, and no crash."""
