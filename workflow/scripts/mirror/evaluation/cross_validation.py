"""Cross-validation of a head on vectors, folds by patient: what a notebook asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from sksurv.metrics import concordance_index_censored

from ..core.errors import InputError


def cross_validate(
    head: Any, X: np.ndarray, y: np.ndarray, groups: Sequence[str] | None = None, folds: int = 5, seed: int = 0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Out-of-fold predictions of a head; see `mirror.cross_validate`.

    Raises
    ------
    InputError
        A training set lacks a class, so that its probabilities cannot be compared with the others'.
    """
    y = np.asarray(y)
    survival = y.dtype.names is not None
    owners = np.arange(len(y)) if groups is None else np.asarray(groups)
    strata = y[y.dtype.names[0]] if survival else y  # type: ignore[index]
    splitter = (GroupKFold if survival else StratifiedGroupKFold)(n_splits=folds, shuffle=True, random_state=seed)
    classes = np.unique(y.astype(str)) if not survival else np.empty(0)
    out = np.full((len(y), len(classes)) if not survival else len(y), np.nan)
    rows = []
    for fold, (train, test) in enumerate(splitter.split(X, strata, owners)):
        model = clone(head).fit(X[train], y[train])
        row: dict[str, float] = {"fold": fold, "n": len(test)}
        if survival:
            risk = model.predict_risk(X[test]) if hasattr(model, "predict_risk") else model.predict(X[test])
            out[test] = risk
            event, time = y.dtype.names  # type: ignore[misc]
            row["c_index"] = float(concordance_index_censored(y[test][event], y[test][time], risk)[0])
        else:
            if len(model.classes_) < len(classes):
                lacking = sorted(set(classes) - set(np.asarray(model.classes_).astype(str)))
                raise InputError(
                    f"no training patient of fold {fold} is of class {lacking[0]}", remedy="use fewer folds"
                )
            out[test] = p = model.predict_proba(X[test])
            truth = y[test].astype(str)
            row["accuracy"] = float(accuracy_score(truth, classes[p.argmax(axis=1)]))
            if len(set(truth)) == len(classes):
                score = p[:, 1] if len(classes) == 2 else p
                row["auroc"] = float(roc_auc_score(truth, score, multi_class="ovr", labels=classes))
        rows.append(row)
    return pd.DataFrame(rows), out
