"""A slide model and an RNA model, their predictions averaged."""

from __future__ import annotations

import numpy as np

from ...config.evaluation import EvaluationSettings
from ...heads.logistic import LogisticHead
from ...heads.scaling import Scaling
from ...heads.survival import HEADS, outcome
from ...targets.base import by_patient
from ...targets.fit import predict_refits
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
        models = [LogisticHead(settings.probe, fold.seed, scaling).fit(a, truth) for a, _ in (wsi, rna)]
        p = np.mean([model.predict_proba(b) for model, (_, b) in zip(models, (wsi, rna), strict=True)], axis=0)
        refits = [
            predict_refits(model, a, train, b, settings, fold.seed)
            for model, (a, b) in zip(models, (wsi, rna), strict=True)
        ]
        rows = fold.class_rows(test, models[0].classes_.tolist(), p)
        return [("logistic", rows.assign(refits=by_patient(mean_of(refits), len(test))))]
    return [(head, _survival(fold, settings, wsi, rna, train, test, head, scaling)) for head in fold.heads()]


def _survival(fold: FoldData, settings: EvaluationSettings, wsi, rna, train, test, head: str, scaling: Scaling):
    time, event = fold.outcome(train)
    risks, risks_train, curves, refits = [], [], [], []
    for a, b in (wsi, rna):
        everybody = np.concatenate([a, b])  # one fit predicts training patients (for the scale) and test patients
        model = HEADS[head](settings.survival, settings.probe, fold.seed, scaling).fit(a, outcome(time, event))
        found = model.prediction(everybody)
        fold.notes += model.notes_
        of_train = found.risk[: len(a)]
        spread = of_train.std() or 1.0
        risks_train.append((of_train - of_train.mean()) / spread)
        risks.append((found.risk[len(a) :] - of_train.mean()) / spread)
        curves.append(found.survival[len(a) :])
        moved = predict_refits(model, a, train, b, settings, fold.seed)
        refits.append(None if moved is None else (moved - of_train.mean()) / spread)
        times = found.times
    threshold = float(np.median(np.mean(risks_train, axis=0)))
    rows = fold.risk_rows(test, np.mean(risks, axis=0), threshold, times, np.mean(curves, axis=0))
    return rows.assign(refits=by_patient(mean_of(refits), len(test)))


def mean_of(refits: list[np.ndarray | None]) -> np.ndarray | None:
    """Mean of two models' refits; None unless both have them."""
    known = [values for values in refits if values is not None]
    return np.mean(known, axis=0) if len(known) == len(refits) else None
