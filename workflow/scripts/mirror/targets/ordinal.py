"""Ordinal targets: classes with an order, as a grade."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..metrics.classification import metrics_of_models, subtyping_metrics
from ..metrics.numbers import neighbour_auroc, quadratic_kappa
from .classes import Classes, class_refits
from .kind import Scoring, models_of
from .registry import kind


@kind(
    "ordinal",
    section="Ordinal targets",
    primary="kappa_quadratic",
    chance=0.0,
    metrics=("kappa_quadratic", "accuracy", "auroc_neighbours", "auroc"),
    more=("balanced_accuracy", "macro_f1", "brier", "ece"),
    more_title="levels without their order, calibration",
    few_note="{k} training patients per level, drawn without replacement, the same for every method.",
    few=("kappa_quadratic", "accuracy", "auroc_neighbours", "auroc"),
    figures={"roc": "ROC", "confusion": "confusion", "calibration": "calibration"},
    draw="mirror.report.figures.classification:draw",
    settings=("column", "map", "exclude", "classes", "min_count", "order"),
    required=("column", "order"),
    labels=True,
)
class Ordinal(Classes):
    """Multinomial logistic regression; agreement that counts how far apart two levels are.

    The level of the highest probability is predicted. AUROC of neighbours compares the patients of two levels that
    follow each other.
    """

    def _place(self, names: list[str]) -> np.ndarray:
        """Position of each name in the order; names outside it (there are none in a target's table) come last."""
        rank = {name: k for k, name in enumerate(self.order)}
        order = sorted(range(len(names)), key=lambda k: (rank.get(names[k], len(rank)), names[k]))
        return np.argsort(order)

    def _aligned(self, part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """See `mirror.metrics.classification.align_classes`; columns in the order of the levels."""
        truth, p, names = super()._aligned(part)
        place = self._place(names)
        order = np.argsort(place)
        return place[truth], p[:, order], [names[k] for k in order]

    def _metrics(self, truth: np.ndarray, p: np.ndarray, w: np.ndarray, part: pd.DataFrame) -> dict[str, np.ndarray]:
        fold = models_of(part)
        return subtyping_metrics(truth, p, w, fold) | {
            "kappa_quadratic": quadratic_kappa(truth, p.argmax(axis=1), p.shape[1], w),
            "auroc_neighbours": neighbour_auroc(truth, p, w, fold),
        }

    def refit_metrics(self, part: pd.DataFrame, scoring: Scoring) -> Mapping[str, np.ndarray] | None:
        """See `Kind.refit_metrics`."""
        truth, _, names = self._aligned(part)
        refits = class_refits(part, names)
        if refits is None:
            return None
        fold, one = models_of(part), np.ones((1, len(part)))
        found = metrics_of_models(truth, refits, fold)
        guess = refits.argmax(axis=2)
        kappa = [quadratic_kappa(truth, g, len(names), one)[0] for g in guess]
        near = [neighbour_auroc(truth, p, one, fold)[0] for p in refits]
        return {**found, "kappa_quadratic": np.array(kappa), "auroc_neighbours": np.array(near)}
