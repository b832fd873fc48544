"""What a baseline gets: one fold's patients and readers of their slides, RNA and clinical columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..dataset.patches import Slides
from ..heads.scaling import Scaling
from ..heads.survival import NoModel
from ..targets.registry import Target

Expression = Callable[[Sequence[str]], tuple[np.ndarray, list[str]]]
COVARIATES = ("age", "sex", "stage")
"""Columns of the patients table that are clinical covariates. Others count only where the configuration names them."""


class Unusable(NoModel):
    """The cohort lacks what a baseline needs; its message says what."""


@dataclass(frozen=True)
class Patients:
    """Some patients and readers of their data.

    Attributes
    ----------
    table : DataFrame
        Rows of the patients table, indexed by patient_id.
    slides : Slides or None
    expression : callable or None
        ``expression(patients) -> (float32 (n, G), patients that have RNA)``, with the
        transform fitted on the fold's training patients.
    covariates : tuple of str
        Columns of ``table`` that may be used as clinical covariates.
    side : str
        "training" or "test", for messages.
    """

    table: pd.DataFrame
    slides: Slides | None = None
    expression: Expression | None = None
    covariates: tuple[str, ...] = COVARIATES
    side: str = "test"

    def rna(self) -> tuple[np.ndarray, pd.DataFrame]:
        """Genes, float32 (n, G), and the rows of the patients that have RNA.

        Raises
        ------
        Unusable
            The cohort has no expression, or none of these patients has.
        """
        if self.expression is None:
            raise Unusable("the cohort has no expression")
        x, found = self.expression(list(self.table.index))
        return x, self._rows(found, "RNA")

    def bags(self) -> tuple[Slides, pd.DataFrame]:
        """The slides, and the rows of the patients that have any.

        Raises
        ------
        Unusable
            The cohort has no patch features, or none of these patients has.
        """
        if self.slides is None:
            raise Unusable("the cohort has no patch features")
        return self.slides, self._rows([p for p in self.table.index if p in self.slides.files], "slides")

    def pooled(self, how: str) -> tuple[np.ndarray, pd.DataFrame]:
        """Patch features pooled by ``how`` ("mean" or "max"), (n, D), and the patients, as `rna` gives genes."""
        slides, table = self.bags()
        return np.stack([slides.pooled(how, p) for p in table.index]), table

    def paired(self) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
        """Mean patch features and genes of the patients that have both, and their rows."""
        (wsi, slides), (rna, genes) = self.pooled("mean"), self.rna()
        both = [p for p in slides.index if p in genes.index]
        if not both:
            raise Unusable("no patients with both slides and RNA")
        return wsi[slides.index.get_indexer(both)], rna[genes.index.get_indexer(both)], slides.loc[both]

    def _rows(self, found: Sequence[str], what: str) -> pd.DataFrame:
        if not len(found):
            raise Unusable(f"no {self.side} patients with {what}")
        return self.table.loc[list(found)]


@dataclass
class FoldData:
    """One fold of one target.

    Attributes
    ----------
    task : Target, or the name of a short form
    train, test : DataFrame
        Patients with a known outcome, indexed by patient_id.
    settings : EvaluationSettings
    seed : int
    slides, expression, covariates
        See `Patients`.
    notes : list of str
        What the reader should know; a baseline may add to it.
    device : str
        Where a network trains.
    """

    task: Target | str
    train: pd.DataFrame
    test: pd.DataFrame
    settings: EvaluationSettings
    seed: int
    slides: Slides | None = None
    expression: Expression | None = None
    covariates: tuple[str, ...] = COVARIATES
    notes: list[str] = field(default_factory=list)
    device: str = "cpu"

    @property
    def target(self) -> Target:
        """What is predicted."""
        return Target.of(self.task)

    @property
    def training(self) -> Patients:
        """The training patients: all that a baseline may learn from."""
        return Patients(self.train, self.slides, self.expression, self.covariates, "training")

    @property
    def held_out(self) -> Patients:
        """The test patients."""
        return Patients(self.test, self.slides, self.expression, self.covariates, "test")

    @property
    def clipped(self) -> Scaling:
        """Scaling of expression."""
        return Scaling(self.settings.baseline.clip)
