"""A slide model and an RNA model, their predictions averaged."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd

from ...heads.stored import Head, head_from_dict
from ...targets.base import by_patient
from ...targets.fit import fit_head, heads_of, predict_refits
from ...targets.registry import Target
from ..fold_data import FoldData, Patients
from ..method import Method, Predicted
from ..registry import baseline


@baseline(
    "late_fusion",
    kinds=("class", "ordinal", "survival", "number"),
    modality="fused",
    description="mean of a slide model's and an RNA model's predictions",
    title="Late fusion",
    order=100,
)
class LateFusion(Method):
    """Mean of probabilities or values; of risks after standardising them on the training patients.

    Attributes
    ----------
    pairs_ : dict
        The two fitted heads (slide, RNA) by the head's name.
    scales_ : dict
        By the survival head's name: mean and SD of the training patients' risks for each of the two, and
        ``threshold``, the median of the training patients' mean risk.
    target_ : Target
        What was fitted.
    fitted_on : tuple or None
        See `LinearMethod`.
    """

    def __init__(self) -> None:
        self.pairs_: dict[str, list[Head]] = {}
        self.scales_: dict[str, dict[str, Any]] = {}
        self.fitted_on: tuple[list[np.ndarray], pd.DataFrame, FoldData] | None = None

    def fit(self, fold: FoldData) -> LateFusion:
        """See `Method.fit`."""
        *parts, table = fold.training.paired()
        self.fitted_on, self.target_ = (parts, table, fold), fold.target
        for name in heads_of(fold.task, fold.settings):
            pair = [fit_head(fold.task, name, x, table, fold.settings, fold.seed, fold.clipped) for x in parts]
            self.pairs_[name] = pair
            if fold.target.kind == "survival":
                fold.notes += [note for head in pair for note in head.notes_]
                risks = [head.predict_risk(x) for head, x in zip(pair, parts, strict=True)]
                scale: dict[str, Any] = {
                    "mean": [float(r.mean()) for r in risks],
                    "sd": [float(r.std()) or 1.0 for r in risks],
                }
                scale["threshold"] = float(np.median(self._mean_risk(risks, scale)))
                self.scales_[name] = scale
        return self

    @staticmethod
    def _mean_risk(risks: list[np.ndarray], scale: dict[str, Any]) -> np.ndarray:
        standard = [(r - mean) / sd for r, mean, sd in zip(risks, scale["mean"], scale["sd"], strict=True)]
        return np.mean(standard, axis=0)

    def predict(self, patients: Patients) -> list[Predicted]:
        """See `Method.predict`."""
        *parts, table = patients.paired()
        out = []
        for name, pair in self.pairs_.items():
            found: list[Any] = [head.prediction(x) for head, x in zip(pair, parts, strict=True)]
            both = self.target_.rules.average(found, self.scales_.get(name))
            columns = {"refits": by_patient(self._refits(name, parts), len(table))}
            out.append(Predicted(name, list(table.index), both, columns))
        return out

    def _refits(self, name: str, parts: list[np.ndarray]) -> np.ndarray | None:
        """Mean of the two heads' refits (see `predict_refits`); None unless both have them."""
        if self.fitted_on is None:
            return None
        seen, table, fold = self.fitted_on
        found = []
        for k, head in enumerate(self.pairs_[name]):
            moved = predict_refits(head, seen[k], table, parts[k], fold.settings, fold.seed, fold.target)
            if moved is None:
                return None
            scale = self.scales_.get(name)
            found.append(moved if scale is None else (moved - scale["mean"][k]) / scale["sd"][k])
        return np.mean(found, axis=0)

    def to_dict(self) -> dict[str, Any]:
        """See `Method.to_dict`."""
        pairs = {name: [head.to_dict() for head in pair] for name, pair in self.pairs_.items()}
        target = {"name": self.target_.name, "kind": self.target_.kind, "order": list(self.target_.order)}
        return {"pairs": pairs, "scales": self.scales_, "target": target}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """See `Method.from_dict`."""
        method = cls()
        method.pairs_ = {name: [head_from_dict(head) for head in pair] for name, pair in data["pairs"].items()}
        method.scales_, method.target_ = data["scales"], Target.of(data["target"])
        return method
