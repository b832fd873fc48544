"""Fitting the heads of a target in the folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..heads.logistic import ClassPrediction
from ..heads.scaling import PLAIN, Scaling
from ..heads.stored import Head
from .base import by_patient
from .registry import Target


def fit_head(
    task: Any,
    head: str,
    x: np.ndarray,
    table: pd.DataFrame,
    settings: EvaluationSettings,
    seed: int,
    scaling: Scaling = PLAIN,
) -> Head:
    """Fit one linear head on training patients.

    Parameters
    ----------
    task : Target, or the name of a short form
    head : str
        One of `heads_of`.
    x : ndarray, shape (n, D)
    table : pandas.DataFrame
        Rows of the patients with their outcomes, in the order of ``x``.
    settings, seed, scaling
        See `LogisticHead`, `SurvivalHead` and `RidgeHead`.

    Returns
    -------
    LogisticHead, SurvivalHead or RidgeHead
    """
    rules = Target.of(task).rules
    return rules.head(head, settings, seed, scaling).fit(x, rules.y(table))


def rows_of(prediction: Any, table: pd.DataFrame, task: Any = None) -> pd.DataFrame:
    """Rows of predictions of test patients, beside their outcomes in ``table`` (in the prediction's order).

    Parameters
    ----------
    prediction : ClassPrediction, SurvivalPrediction or NumberPrediction
    table : DataFrame
    task : Target, optional
        Without it, a class target or a survival target, as the prediction says.

    Returns
    -------
    pandas.DataFrame
    """
    if task is None:
        task = "subtyping" if isinstance(prediction, ClassPrediction) else "survival"
    return Target.of(task).rules.rows(prediction, table)


def fit_task(
    task: Any,
    head: str,
    x: np.ndarray,
    table: pd.DataFrame,
    x_test: np.ndarray,
    table_test: pd.DataFrame,
    settings: EvaluationSettings,
    seed: int,
    scaling: Scaling = PLAIN,
) -> tuple[pd.DataFrame, list[str]]:
    """`fit_head` on one fold's training patients, then `rows_of` its predictions of the test patients.

    Returns
    -------
    rows : pandas.DataFrame
        With ``penalty``, the chosen C, and ``refits`` (`mirror.heads.refits`).
    notes : list of str
        Fallbacks that were taken.
    """
    model = fit_head(task, head, x, table, settings, seed, scaling)
    rows = rows_of(model.prediction(x_test), table_test, task).assign(penalty=model.penalty_)
    moved = predict_refits(model, x, table, x_test, settings, seed, task)
    return rows.assign(refits=by_patient(moved, len(rows))), model.notes_


def predict_refits(
    model: Head,
    x: np.ndarray,
    table: pd.DataFrame,
    x_test: np.ndarray,
    settings: EvaluationSettings,
    seed: int,
    task: Any = None,
) -> np.ndarray | None:
    """Predictions by the head refitted on resampled training patients; None where it is not.

    Parameters
    ----------
    model : Head
        Fitted on ``x`` (n, D), whose patients' outcomes are in ``table``.
    x_test : ndarray, shape (m, D)
    settings : EvaluationSettings
        ``statistics.refits``: how many.
    seed : int
    task : Target, optional
        Without it, a class target for a classifier, else a survival target.

    Returns
    -------
    ndarray or None
        Probabilities (B, m, K), risks or values (B, m).
    """
    draws = settings.statistics.refits
    if draws < 2:
        return None
    if task is None:
        task = "subtyping" if hasattr(model, "classes_") else "survival"
    return Target.of(task).rules.refits(model, x, table, x_test, seed, draws)


def heads_of(task: Any, settings: EvaluationSettings) -> list[str]:
    """Heads that a target probes."""
    return Target.of(task).rules.heads(settings)
