"""What the truth itself reaches: linear heads on a simulated cohort's factors, in the same folds.

Outcomes are drawn with noise, so that even a model that knows every factor errs. The ceiling says
how far a method stands from what could be known. It exists for simulated cohorts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ...baselines.fold_data import FoldData
from ...config.evaluation import EvaluationSettings
from ...core.errors import InputError
from ...core.hashing import sha256_file
from ...heads.survival import TooFewEvents
from ...io.predictions import Names, Result, empty, stamp
from ...io.splits import iterate_folds
from ...targets.base import who_takes_part

MODALITY = "truth"
HEAD = {"subtyping": "logistic", "survival": "cox"}


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
    task: str,
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
    known, notes = who_takes_part(patients, task)
    parts, seen = [], {}
    for fold in iterate_folds(splits):
        train, test = (
            known.loc[[p for p in side if p in known.index and p in factors.index]] for side in (fold.train, fold.test)
        )
        seen[fold.name] = {"train": list(train.index)}
        if not len(train) or not len(test):
            if len(known):
                notes.append(
                    f"{fold.name}: no {'training' if not len(train) else 'test'} patients with a known outcome"
                )
            continue
        data = FoldData(task, train, test, settings, seed)
        x, x_test = (factors.loc[part.index].to_numpy() for part in (train, test))
        try:
            head, rows = data.linear(x, train, x_test, test, HEAD[task])
        except TooFewEvents as reason:
            notes.append(f"{fold.name}: left out, {reason}")
            continue
        notes += [f"{fold.name}: {note}" for note in data.notes]
        place = {"repeat": fold.repeat, "fold": fold.fold, "draw": 0, "seed": seed}
        how = {"task": task, "protocol": "supervised", "modality": MODALITY, "head": head}
        parts.append(stamp(rows, names, **how, **place))
    metadata = {
        "patients": seen,
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "sources": [{"file": str(path), "sha256": sha256_file(path)} for path in sources],
        "notes": list(dict.fromkeys(notes)),
        "description": "linear head on the simulated cohort's true factors: what no method can be expected to pass",
    }
    return Result(pd.concat(parts, ignore_index=True) if parts else empty(task), metadata)
