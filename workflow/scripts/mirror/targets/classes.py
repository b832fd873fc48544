"""Class targets: labels without an order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..heads.logistic import ClassPrediction, LogisticHead
from ..heads.scaling import PLAIN, Scaling
from ..metrics.classification import align_classes, metrics_of_models, subtyping_metrics
from .kind import COLUMN, Kind, Scoring, models_of
from .labels import apply_values
from .registry import kind


def subtyping_rows(patients: Sequence[str], truth: np.ndarray, classes: Sequence[str], probabilities: np.ndarray):
    """Rows of one fold's predictions of a class target.

    Parameters
    ----------
    patients : sequence of str, length n
    truth : ndarray of str, shape (n,)
    classes : sequence of str, length C
        The classes of the training patients, in the order of the probabilities' columns.
    probabilities : ndarray of float, shape (n, C)

    Returns
    -------
    pandas.DataFrame
        Columns patient_id, y_true, classes, probabilities.
    """
    if not np.isfinite(probabilities).all():
        raise ValueError("a predicted probability is not finite")
    return pd.DataFrame(
        {
            "patient_id": list(patients),
            "y_true": np.asarray(truth, dtype=object),
            "classes": [list(classes)] * len(patients),
            "probabilities": list(np.asarray(probabilities, dtype=np.float64)),
        }
    )


def class_refits(rows: pd.DataFrame, names: Sequence[str]) -> np.ndarray | None:
    """Refitted probabilities (B, n, classes) on one list of classes; 0 for a class that a fold's model lacks.

    Parameters
    ----------
    rows : DataFrame
        Predictions of a class target.
    names : sequence of str
        Classes of the result.
    """
    if "refits" not in rows or rows["refits"].isna().any():
        return None
    known = [tuple(str(c) for c in classes) for classes in rows["classes"]]
    draws = {len(values) // len(classes) for values, classes in zip(rows["refits"], known, strict=True)}
    if len(draws) != 1:
        return None
    out = np.zeros((draws.pop(), len(rows), len(names)))
    for classes in set(known):
        place = np.flatnonzero([k == classes for k in known])
        values = np.stack(list(rows["refits"].iloc[place])).reshape(len(place), len(out), len(classes))
        out[:, place[:, None], [names.index(c) for c in classes]] = np.moveaxis(values, 1, 0)
    return out


@kind(
    "class",
    section="Subtyping",
    primary="auroc",
    chance=0.5,
    metrics=("accuracy", "balanced_accuracy", "macro_f1", "auroc"),
    more=("auprc", "kappa", "brier", "ece"),
    more_title="precision-recall, agreement, calibration",
    few=("accuracy", "balanced_accuracy", "macro_f1", "auroc"),
    few_note="{k} training patients per class, drawn without replacement, the same for every method.",
    figures={
        "roc": "ROC",
        "pr": "precision and recall",
        "confusion": "confusion",
        "calibration": "calibration",
    },
    draw="mirror.report.figures.classification:draw",
    settings=("column", "map", "keep", "exclude", "classes", "min_count"),
    required=("column",),
    labels=True,
)
class Classes(Kind):
    """Multinomial logistic regression; metrics of classification."""

    outcome: Mapping[str, type] = {"label": str}
    columns = ("y_true", "classes", "probabilities")
    lack = "no label"

    def apply(self, table: pd.DataFrame, settings: Mapping[str, Any]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
        """See `Kind.apply`."""
        return apply_values(table, settings)

    def usable(self, patients: pd.DataFrame) -> pd.Series:
        """See `Kind.usable`."""
        return patients["label"].notna() & (patients["label"].astype(str) != "")

    def nothing_to_learn(self, known: pd.DataFrame, target: str) -> str:
        """See `Kind.nothing_to_learn`."""
        if len(known) and known["label"].astype(str).nunique() < 2:
            only = known["label"].iloc[0]
            return f"all {len(known)} patients with a label are {only}: a cohort of one label has no {target}"
        return ""

    def counts(self, known: pd.DataFrame) -> str:
        """See `Kind.counts`."""
        each = ", ".join(f"{name} {n}" for name, n in known["label"].value_counts().items())
        return f"{len(known)} patients" + (f" ({each})" if each else "")

    def y(self, table: pd.DataFrame) -> np.ndarray:
        """Labels, str (n,)."""
        return table["label"].to_numpy(str)

    def strata(self, table: pd.DataFrame) -> np.ndarray:
        """See `Kind.strata`."""
        known = self.usable(table).to_numpy()
        return np.where(known, table["label"].astype(str).to_numpy(str), "")

    def shots(self, table: pd.DataFrame, k: int, settings: EvaluationSettings) -> tuple[np.ndarray, int]:
        """See `Kind.shots`."""
        return self.y(table), k

    def heads(self, settings: EvaluationSettings) -> list[str]:
        """See `Kind.heads`."""
        return ["logistic"]

    def head(self, name: str, settings: EvaluationSettings, seed: int, scaling: Scaling = PLAIN) -> LogisticHead:
        """See `Kind.head`."""
        return LogisticHead(settings.probe, seed, scaling)

    def rows(self, prediction: ClassPrediction, table: pd.DataFrame) -> pd.DataFrame:
        """See `subtyping_rows`."""
        return subtyping_rows(table.index, self.y(table), prediction.classes, prediction.probabilities)

    def average(self, predictions: Sequence[Any], scales: Mapping[str, Any] | None) -> ClassPrediction:
        """Mean probabilities. The models know the same classes, in the same order: those of the same patients."""
        return ClassPrediction(predictions[0].classes, np.mean([p.probabilities for p in predictions], axis=0))

    def not_scored(self, part: pd.DataFrame) -> str:
        """See `Kind.not_scored`."""
        if part["y_true"].nunique() < 2:
            return f"all patients are {part['y_true'].iloc[0]}: a cohort of one label has no {part['task'].iloc[0]}"
        return ""

    def _aligned(self, part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
        return align_classes(part["y_true"].to_numpy(str), list(part["classes"]), list(part["probabilities"]))

    def _metrics(self, truth: np.ndarray, p: np.ndarray, w: np.ndarray, part: pd.DataFrame) -> dict[str, np.ndarray]:
        return subtyping_metrics(truth, p, w, models_of(part))

    def score(self, part: pd.DataFrame, weights: np.ndarray, scoring: Scoring) -> tuple[dict[str, np.ndarray], dict]:
        """See `Kind.score`."""
        w = weights[:, part[COLUMN].to_numpy()].astype(np.float64)
        truth, p, names = self._aligned(part)
        found = self._metrics(truth, p, w, part)
        left_out = {}
        for name in [name for name, values in found.items() if not np.isfinite(values[0])]:
            del found[name]
            left_out[name] = f"only {names[truth[0]]} among the patients" if len(set(truth)) == 1 else "not defined"
        return found, left_out

    def refit_metrics(self, part: pd.DataFrame, scoring: Scoring) -> Mapping[str, np.ndarray] | None:
        """See `Kind.refit_metrics`."""
        truth, _, names = self._aligned(part)
        refits = class_refits(part, names)
        return None if refits is None else metrics_of_models(truth, refits, models_of(part))

    def facts(self, part: pd.DataFrame, protocol: str) -> dict[str, float]:
        """Share of the largest class, which a guess reaches in accuracy."""
        shares = part.drop_duplicates("patient_id")["y_true"].value_counts(normalize=True)
        return {"majority_share": float(shares.iloc[0])}
