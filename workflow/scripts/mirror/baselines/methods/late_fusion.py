"""A slide model and an RNA model, their predictions averaged."""

from __future__ import annotations

import numpy as np

from ...config.evaluation import EvaluationSettings
from ...heads.logistic import fit_logistic
from ...heads.scaling import Scaling
from ...heads.survival import fit_survival
from ..fold_data import FoldData
from ..paired import paired
from ..registry import baseline


@baseline(
    "late_fusion",
    tasks=("subtyping", "survival"),
    modality="fused",
    description="mean of a slide model's and an RNA model's predictions",
)
def fit(fold: FoldData):
    """Mean of the probabilities; of the risks after standardising them on the training patients."""
    wsi, rna, train, test = paired(fold)
    settings, scaling = fold.settings, fold.clipped
    if fold.task == "subtyping":
        truth = train["label"].to_numpy(str)
        # Both models know the same classes, in the same order: those of the same patients.
        found = [fit_logistic(a, truth, b, settings.probe, fold.seed, scaling) for a, b in (wsi, rna)]
        return [("logistic", fold.class_rows(test, found[0][0], np.mean([p for _, p in found], axis=0)))]
    return [(head, _survival(fold, settings, wsi, rna, train, test, head, scaling)) for head in fold.heads()]


def _survival(fold: FoldData, settings: EvaluationSettings, wsi, rna, train, test, head: str, scaling: Scaling):
    time, event = fold.outcome(train)
    risks, risks_train, curves = [], [], []
    for a, b in (wsi, rna):
        everybody = np.concatenate([a, b])  # one fit predicts training patients (for the scale) and test patients
        found, notes = fit_survival(
            a, time, event, everybody, head, settings.survival, settings.probe, fold.seed, scaling
        )
        fold.notes += notes
        of_train = found.risk[: len(a)]
        spread = of_train.std() or 1.0
        risks_train.append((of_train - of_train.mean()) / spread)
        risks.append((found.risk[len(a) :] - of_train.mean()) / spread)
        curves.append(found.survival[len(a) :])
        times = found.times
    threshold = float(np.median(np.mean(risks_train, axis=0)))
    return fold.risk_rows(test, np.mean(risks, axis=0), threshold, times, np.mean(curves, axis=0))
