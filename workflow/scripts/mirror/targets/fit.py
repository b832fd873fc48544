"""Fitting the heads of a target in the folds."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..heads.logistic import fit_logistic
from ..heads.scaling import PLAIN, Scaling
from ..heads.survival import fit_survival
from .classes import subtyping_rows
from .survival import survival_rows

log = logging.getLogger(__name__)


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
    """Fit one linear head on one fold and predict its test patients.

    Parameters
    ----------
    task : {"subtyping", "survival"}
    head : {"logistic", "discrete", "cox"}
    x, x_test : ndarray, shapes (n, D), (m, D)
    table, table_test : pandas.DataFrame
        Rows of the patients table, in the order of ``x`` and ``x_test``.
    settings, seed, scaling
        See `fit_logistic` and `fit_survival`.

    Returns
    -------
    rows : pandas.DataFrame
        See `subtyping_rows` and `survival_rows`.
    notes : list of str
    """
    if task == "subtyping":
        truth = table["label"].to_numpy(str)
        classes, p = fit_logistic(x, truth, x_test, settings.probe, seed, scaling)
        notes = ["training patients are of one class"] if len(classes) == 1 else []
        return subtyping_rows(table_test.index, table_test["label"].to_numpy(str), classes, p), notes
    time, event = table["time_days"].to_numpy(float), table["event"].to_numpy(float).astype(int)
    found, notes = fit_survival(x, time, event, x_test, head, settings.survival, settings.probe, seed, scaling)
    rows = survival_rows(
        table_test.index,
        table_test["time_days"].to_numpy(float),
        table_test["event"].to_numpy(float).astype(int),
        found.risk,
        found.threshold,
        found.times,
        found.survival,
    )
    return rows, notes


def heads_of(task: str, settings: EvaluationSettings) -> list[str]:
    """Heads that a task probes."""
    return ["logistic"] if task == "subtyping" else list(settings.survival.models)
