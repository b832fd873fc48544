"""What the truth itself reaches: linear heads on a simulated cohort's factors, in the same folds.

Outcomes are drawn with noise, so that even a model that knows every factor errs. The ceiling says
how far a method stands from what could be known. It exists for simulated cohorts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...config.evaluation import EvaluationSettings
from ...core.errors import InputError
from ...io.predictions import Names, Result
from ...targets.fit import fit_task
from ...targets.folds import FoldRun

MODALITY = "truth"


def read_factors(path: str | Path) -> pd.DataFrame:
    """True factors, indexed by patient_id: one float column a factor.

    Raises
    ------
    InputError
        The table has no patient_id or no factors.
    """
    table = pd.read_csv(path, sep="\t", dtype={"patient_id": str})
    if "patient_id" not in table or table.shape[1] < 2:
        raise InputError("lacks patient_id or factors", file=path, remedy="simulate the cohort again")
    return table.set_index("patient_id").astype(float)


def evaluate_ceiling(
    factors: pd.DataFrame,
    patients: pd.DataFrame,
    splits: pd.DataFrame,
    task: Any,
    names: Names,
    settings: EvaluationSettings,
    seed: int,
    sources: Sequence[str | Path] = (),
) -> Result:
    """Fit logistic regression or Cox on the true factors in every fold and predict its test patients.

    Parameters
    ----------
    factors : DataFrame (patients, factors)
        See `read_factors`.
    patients, splits, task, names, settings, seed
        See `mirror.evaluation.embeddings.evaluate_embeddings`.
    sources : sequence of path-like
        Files whose hashes go into the metadata.

    Returns
    -------
    Result
    """
    run = FoldRun(task, patients, splits, names, settings, seed)
    head = "cox" if run.target.kind == "survival" else run.rules.heads(settings)[0]
    run.known = run.known[run.known.index.isin(factors.index)]
    for fold in run:
        if run.is_empty(fold):
            continue
        x, x_test = (factors.loc[part.index].to_numpy() for part in (fold.train, fold.test))
        with run.attempt(fold.name):
            rows, notes = fit_task(run.target, head, x, fold.train, x_test, fold.test, settings, seed)
            how: dict[str, Any] = {"protocol": "supervised", "modality": MODALITY, "head": head}
            run.add(rows, fold, **how, notes=notes, where=fold.name)
    description = "linear head on the simulated cohort's true factors: the best that a method can be expected to reach"
    return run.result(sources, description=description)
