"""Numbers: a mutational burden, a score of a signature, a laboratory value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..core.errors import InputError
from ..heads.ridge import NumberPrediction, RidgeHead
from ..heads.scaling import PLAIN, Scaling
from ..metrics.numbers import number_metrics, number_metrics_of_models
from .kind import COLUMN, Kind, Scoring, models_of, refitted_predictions
from .registry import kind

TRANSFORMS: dict[str, Callable[[Any], Any]] = {"none": lambda x: x, "log1p": np.log1p, "sqrt": np.sqrt}
GROUPS = 4
"""Folds are balanced in quartiles."""
SHOT_GROUPS = 3
"""A few-shot set takes k patients of each third, as it takes k of each class."""


def number_rows(patients: Sequence[str], truth: np.ndarray, value: np.ndarray) -> pd.DataFrame:
    """Rows of one fold's predictions of a number: columns patient_id, value_true, value.

    Parameters
    ----------
    patients : sequence of str, length n
    truth, value : ndarray, shape (n,)
        On the scale of the target's transformation.
    """
    if not np.isfinite(value).all():
        raise ValueError("a predicted value is not finite")
    return pd.DataFrame({"patient_id": list(patients), "value_true": truth, "value": value})


def quantile_groups(values: np.ndarray, groups: int) -> np.ndarray:
    """Quantile group of each value, int (n,); equal edges are merged."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, groups + 1)[1:-1])) if len(values) else np.empty(0)
    return np.searchsorted(edges, values, side="right")


@kind(
    "number",
    section="Numbers",
    primary="r2",
    chance=0.0,
    metrics=("r2", "pearson", "spearman", "mae"),
    few=("r2", "pearson", "spearman", "mae"),
    few_note="{k} training patients of each third of the values, drawn without replacement, the same for every method.",
    figures={"scatter": "predicted against measured"},
    draw="mirror.report.figures.numbers:draw",
    settings=("column", "transform"),
    required=("column",),
)
class Number(Kind):
    """Ridge regression; R², correlations and absolute error."""

    outcome: Mapping[str, type] = {"value": float}
    columns = ("value_true", "value")
    lack = "no value"

    def apply(self, table: pd.DataFrame, settings: Mapping[str, Any]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
        """The transformation.

        Raises
        ------
        InputError
            A value that it does not take.
        """
        out, how = table.copy(), str(settings.get("transform") or "none")
        value = out["value"].astype(float)
        bad = value < 0 if how == "sqrt" else value <= -1 if how == "log1p" else value.isin([np.inf, -np.inf])
        if bad.any():
            first = out.loc[bad].iloc[0]
            raise InputError(
                f"`{settings.get('column')}`: {how} does not take {int(bad.sum())} values, such as {first['value']:g}",
                row=str(first["patient_id"]),
                remedy="choose another `transform`, or correct the value",
            )
        out["value"] = TRANSFORMS[how](value)
        return out, []

    def usable(self, patients: pd.DataFrame) -> pd.Series:
        """See `Kind.usable`."""
        return pd.to_numeric(patients["value"], errors="coerce").notna()

    def nothing_to_learn(self, known: pd.DataFrame, target: str) -> str:
        """See `Kind.nothing_to_learn`."""
        if len(known) and known["value"].nunique() < 2:
            return f"all {len(known)} patients have the value {known['value'].iloc[0]:g}: there is no {target} to learn"
        return ""

    def y(self, table: pd.DataFrame) -> np.ndarray:
        """Values, float64 (n,)."""
        return table["value"].to_numpy(float)

    def strata(self, table: pd.DataFrame) -> np.ndarray:
        """Quartile."""
        known = self.usable(table).to_numpy()
        out = np.full(len(table), "", dtype="U16")
        out[known] = np.char.add("quartile ", (quantile_groups(self.y(table)[known], GROUPS) + 1).astype(str))
        return out

    def shots(self, table: pd.DataFrame, k: int, settings: EvaluationSettings) -> tuple[np.ndarray, int]:
        """k of each third of the training patients."""
        return quantile_groups(self.y(table), SHOT_GROUPS), k

    def heads(self, settings: EvaluationSettings) -> list[str]:
        """See `Kind.heads`."""
        return ["ridge"]

    def head(self, name: str, settings: EvaluationSettings, seed: int, scaling: Scaling = PLAIN) -> RidgeHead:
        """See `Kind.head`."""
        return RidgeHead(settings.probe, seed, scaling)

    def rows(self, prediction: NumberPrediction, table: pd.DataFrame) -> pd.DataFrame:
        """See `number_rows`."""
        return number_rows(table.index, self.y(table), prediction.value)

    def average(self, predictions: Sequence[Any], scales: Mapping[str, Any] | None) -> NumberPrediction:
        """Mean value."""
        return NumberPrediction(np.mean([p.value for p in predictions], axis=0))

    def score(self, part: pd.DataFrame, weights: np.ndarray, scoring: Scoring) -> tuple[dict[str, np.ndarray], dict]:
        """See `Kind.score`."""
        w = weights[:, part[COLUMN].to_numpy()].astype(np.float64)
        truth, value = part["value_true"].to_numpy(float), part["value"].to_numpy(float)
        found = number_metrics(truth, value, w, models_of(part))
        left_out = {name: "not defined" for name, values in found.items() if not np.isfinite(values[0])}
        return {name: values for name, values in found.items() if name not in left_out}, left_out

    def refit_metrics(self, part: pd.DataFrame, scoring: Scoring) -> Mapping[str, np.ndarray] | None:
        """See `Kind.refit_metrics`."""
        refits = refitted_predictions(part)
        if refits is None:
            return None
        return number_metrics_of_models(part["value_true"].to_numpy(float), refits.T.astype(float), models_of(part))
