"""Fitting the heads of a target in the folds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..heads.logistic import ClassPrediction, LogisticHead
from ..heads.refits import refit_of, training_weights
from ..heads.scaling import PLAIN, Scaling
from ..heads.stored import Head
from ..heads.survival import HEADS, SurvivalPrediction
from .base import by_patient
from .classes import subtyping_rows
from .survival import outcome_of, survival_rows


def fit_head(
    task: str,
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
    task : {"subtyping", "survival"}
    head : {"logistic", "discrete", "cox"}
    x : ndarray, shape (n, D)
    table : pandas.DataFrame
        Rows of the patients table, in the order of ``x``.
    settings, seed, scaling
        See `LogisticHead` and `SurvivalHead`.

    Returns
    -------
    LogisticHead or SurvivalHead
    """
    if task == "subtyping":
        return LogisticHead(settings.probe, seed, scaling).fit(x, table["label"].to_numpy(str))
    return HEADS[head](settings.survival, settings.probe, seed, scaling).fit(x, outcome_of(table))


def rows_of(prediction: ClassPrediction | SurvivalPrediction, table: pd.DataFrame) -> pd.DataFrame:
    """Rows of predictions of test patients, beside their outcomes in ``table`` (in the prediction's order).

    Returns
    -------
    pandas.DataFrame
        See `subtyping_rows` and `survival_rows`.
    """
    if isinstance(prediction, ClassPrediction):
        return subtyping_rows(table.index, table["label"].to_numpy(str), prediction.classes, prediction.probabilities)
    known = outcome_of(table)
    risks = (prediction.risk, prediction.threshold, prediction.times, prediction.survival)
    return survival_rows(table.index, known["time"], known["event"], *risks)


def fit_task(
    task: str,
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
    rows = rows_of(model.prediction(x_test), table_test).assign(penalty=model.penalty_)
    moved = predict_refits(model, x, table, x_test, settings, seed)
    return rows.assign(refits=by_patient(moved, len(rows))), model.notes_


def predict_refits(
    model: Head, x: np.ndarray, table: pd.DataFrame, x_test: np.ndarray, settings: EvaluationSettings, seed: int
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

    Returns
    -------
    ndarray or None
        Probabilities (B, m, K) or risks (B, m).
    """
    draws = settings.statistics.refits
    if draws < 2:
        return None
    y = table["label"].to_numpy(str) if isinstance(model, LogisticHead) else outcome_of(table)
    step = refit_of(model, x, y, x_test)
    return None if step is None else step(training_weights(list(table.index), seed, draws))


def heads_of(task: str, settings: EvaluationSettings) -> list[str]:
    """Heads that a task probes."""
    return ["logistic"] if task == "subtyping" else list(settings.survival.models)
