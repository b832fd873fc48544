"""What a baseline is: a class that is fitted on a fold and predicts patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from ..heads.scaling import PLAIN, Scaling
from ..heads.stored import Head, Prediction, head_from_dict
from ..targets.base import by_patient
from ..targets.fit import fit_head, heads_of, predict_refits
from .fold_data import FoldData, Patients


class Predicted(NamedTuple):
    """What one head of a baseline says about patients, in the order of ``patients``."""

    head: str
    patients: Sequence[str]
    prediction: Prediction
    columns: Mapping[str, Any] = MappingProxyType({})
    """Further columns of the table of predictions: ``penalty``, ``refits``."""


class Method:
    """A baseline. A subclass fits on a fold's training patients and predicts any patients."""

    def fit(self, fold: FoldData) -> Method:
        """Learn from ``fold.training`` and return self; notes for the reader go into ``fold.notes``.

        Raises
        ------
        NoModel
            The training patients do not allow a model.
        """
        raise NotImplementedError

    def predict(self, patients: Patients) -> list[Predicted]:
        """Predict those of the patients that have the data. Outcomes in ``patients.table`` must not be read."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The fitted model as plain data: numbers, text and lists; of networks, the state dict."""
        raise NotImplementedError(f"a fitted {type(self).__name__} cannot be stored")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        raise NotImplementedError(f"a fitted {cls.__name__} cannot be stored")


class LinearMethod(Method):
    """Linear heads on one matrix of features; a subclass says which features.

    Attributes
    ----------
    heads_ : dict
        Fitted heads by name.
    fitted_on : tuple or None
        Features, rows and fold of the training patients, for refits on resampled patients. It is not stored.
    """

    def __init__(self) -> None:
        self.heads_: dict[str, Head] = {}
        self.fitted_on: tuple[np.ndarray, pd.DataFrame, FoldData] | None = None

    def features(self, patients: Patients) -> tuple[np.ndarray, pd.DataFrame]:
        """Features (n, D) and the rows of the patients that have them."""
        raise NotImplementedError

    def scaling(self, fold: FoldData) -> Scaling:
        """How features are scaled."""
        return PLAIN

    def fit(self, fold: FoldData) -> LinearMethod:
        """See `Method.fit`."""
        x, table = self.features(fold.training)
        for name in heads_of(fold.task, fold.settings):
            self._fit_head(name, x, table, fold)
        return self

    def _fit_head(self, name: str, x: np.ndarray, table: pd.DataFrame, fold: FoldData) -> None:
        head = fit_head(fold.task, name, x, table, fold.settings, fold.seed, self.scaling(fold))
        self.heads_[name] = head
        self.fitted_on = (x, table, fold)
        fold.notes += head.notes_

    def predict(self, patients: Patients) -> list[Predicted]:
        """See `Method.predict`."""
        x, table = self.features(patients)
        out = []
        for name, head in self.heads_.items():
            columns: dict[str, Any] = {"penalty": head.penalty_}
            if self.fitted_on is not None:
                seen, train, fold = self.fitted_on
                moved = predict_refits(head, seen, train, x, fold.settings, fold.seed, fold.target)
                columns["refits"] = by_patient(moved, len(table))
            out.append(Predicted(name, list(table.index), head.prediction(x), columns))
        return out

    def to_dict(self) -> dict[str, Any]:
        """See `Method.to_dict`."""
        return {"heads": {name: head.to_dict() for name, head in self.heads_.items()}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """See `Method.from_dict`."""
        method = cls()
        method.heads_ = {name: head_from_dict(head) for name, head in data["heads"].items()}
        return method
