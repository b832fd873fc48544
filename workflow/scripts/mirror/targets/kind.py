"""What a kind of target says: who is usable, strata, heads, rows of predictions, metrics."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..heads.refits import refit_of, training_weights
from ..heads.scaling import PLAIN, Scaling
from ..metrics.survival import Censoring

COLUMN = "_column"
"""Place of a row's patient in the bootstrap weights."""


@dataclass
class Scoring:
    """What metrics of one cohort, scheme and target share.

    Attributes
    ----------
    settings : EvaluationSettings
    censoring : dict of (repeat, fold) to Censoring
        Of the training patients (survival).
    everyone : Censoring or None
        Of all evaluated patients, where there are no folds.
    """

    settings: EvaluationSettings
    censoring: dict[tuple[int, int], Censoring] = field(default_factory=dict)
    everyone: Censoring | None = None


class Kind:
    """A kind of target. A subclass holds the rules of one kind; it is stateless but for ``order``.

    Attributes
    ----------
    name, primary : str
        See `mirror.plan.kinds.KindEntry`.
    outcome : dict
        Columns of the table of outcomes, and whether each is text (str) or a number (float).
    columns : tuple of str
        Columns of predictions, beside those that all tables of predictions share.
    lack : str
        What a patient lacks who cannot be used.
    order : tuple of str
    """

    name = primary = ""
    outcome: Mapping[str, type] = {}
    columns: tuple[str, ...] = ()
    lack = "no value"
    order: tuple[str, ...] = ()

    def of(self, target: Any) -> Kind:
        """These rules for one target."""
        if tuple(target.order) == self.order:
            return self
        own = copy.copy(self)
        own.order = tuple(target.order)
        return own

    # -- patients ------------------------------------------------------------------------------

    def apply(self, table: pd.DataFrame, settings: Mapping[str, Any]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
        """Outcomes as read -> the target's columns, and rows of the cohort flow."""
        return table, []

    def usable(self, patients: pd.DataFrame) -> pd.Series:
        """Whether each patient has the outcome, bool (n,)."""
        raise NotImplementedError

    def nothing_to_learn(self, known: pd.DataFrame, target: str) -> str:
        """Why the usable patients allow no model at all; empty where they do."""
        return ""

    def counts(self, known: pd.DataFrame) -> str:
        """The usable patients in a few words, for logs and the cohort flow."""
        return f"{len(known)} patients"

    def y(self, table: pd.DataFrame) -> np.ndarray:
        """The outcome as heads take it."""
        raise NotImplementedError

    def strata(self, table: pd.DataFrame) -> np.ndarray:
        """Category of each patient in which folds are balanced, str (n,); empty where unknown."""
        raise NotImplementedError

    def shots(self, table: pd.DataFrame, k: int, settings: EvaluationSettings) -> tuple[np.ndarray, int]:
        """Groups of training patients from which a few-shot set takes some each, and how many."""
        raise NotImplementedError

    # -- models --------------------------------------------------------------------------------

    def heads(self, settings: EvaluationSettings) -> list[str]:
        """Linear heads that are fitted."""
        raise NotImplementedError

    def head(self, name: str, settings: EvaluationSettings, seed: int, scaling: Scaling = PLAIN) -> Any:
        """A linear head, not yet fitted."""
        raise NotImplementedError

    def grid(self, head: str, settings: EvaluationSettings) -> list[float]:
        """Penalties among which a head chooses, rising."""
        return sorted(settings.probe.C)

    def refits(
        self, model: Any, x: np.ndarray, table: pd.DataFrame, x_test: np.ndarray, seed: int, draws: int
    ) -> np.ndarray | None:
        """Predictions by the head refitted on resampled training patients, (draws, m, ...); None where it is not."""
        step = refit_of(model, x, self.y(table), x_test)
        return None if step is None else step(training_weights(list(table.index), seed, draws))

    def rows(self, prediction: Any, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of predictions of test patients beside their outcomes, in the prediction's order."""
        raise NotImplementedError

    def average(self, predictions: Sequence[Any], scales: Mapping[str, Any] | None) -> Any:
        """One prediction from several of the same patients."""
        raise NotImplementedError

    # -- metrics -------------------------------------------------------------------------------

    def score(self, part: pd.DataFrame, weights: np.ndarray, scoring: Scoring) -> tuple[dict[str, np.ndarray], dict]:
        """Metrics of some rows: values (R,) for weights (R, patients), and why others were left out."""
        raise NotImplementedError

    def refit_metrics(self, part: pd.DataFrame, scoring: Scoring) -> Mapping[str, np.ndarray] | None:
        """Every metric of one replicate by each of the refits, (B,); None where the head was not refitted."""
        return None

    def events(self, table: pd.DataFrame) -> int | None:
        """Events among rows of patients; None where a kind has none."""
        return None

    def not_scored(self, part: pd.DataFrame) -> str:
        """Why predictions of all patients cannot be scored; empty where they can."""
        return ""

    def facts(self, part: pd.DataFrame, protocol: str) -> dict[str, float]:
        """What the reader of a row must know beside its metrics."""
        return {}


def refitted_predictions(rows: pd.DataFrame) -> np.ndarray | None:
    """Refits of all rows, float32 (n, values); None unless every row has the same number."""
    if "refits" not in rows or rows["refits"].isna().any():
        return None
    sizes = {len(values) for values in rows["refits"]}
    if len(sizes) != 1:
        return None
    return np.stack(list(rows["refits"]))


def models_of(part: pd.DataFrame) -> np.ndarray:
    """The model of each row: one per fold."""
    return part.groupby(["repeat", "fold"]).ngroup().to_numpy()
