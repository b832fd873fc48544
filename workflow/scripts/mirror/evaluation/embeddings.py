"""Frozen embeddings of all folds -> predictions, for one target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..core.errors import InputError
from ..core.folds import parse_fold
from ..core.protocols import is_fewshot
from ..io.embeddings import check_membership, load_fold
from ..io.predictions import Names, Result
from ..targets.fewshot import fewshot_settings, training_sets
from ..targets.fit import fit_task, heads_of
from ..targets.folds import FoldRun


def evaluate_embeddings(
    files: Sequence[str | Path],
    patients: pd.DataFrame,
    splits: pd.DataFrame,
    task: Any,
    names: Names,
    settings: EvaluationSettings,
    seed: int,
) -> Result:
    """Probe frozen embeddings in every fold, for every protocol, modality and head.

    Slides are averaged to patients; membership comes from the splits alone; every scaler, bin,
    penalty and risk threshold is fitted on the fold's training patients.

    Parameters
    ----------
    files : sequence of path-like
        ``{fold}.h5ad``, one a fold of the splits.
    patients : pandas.DataFrame
        Indexed by patient_id (see `read_patients`).
    splits : pandas.DataFrame
        patient_id, repeat, fold, set.
    task : Target, or the name of a short form
    names : Names
    settings : EvaluationSettings
    seed : int

    Returns
    -------
    Result

    Raises
    ------
    InputError
        A fold of the splits has no embeddings, or they disagree about who is in training.
    """
    by_fold = {parse_fold(Path(path).stem): Path(path) for path in files}
    run = FoldRun(task, patients, splits, names, settings, seed)
    task = run.target
    for fold in run:
        key = (fold.source.repeat, fold.source.fold)
        if key not in by_fold:
            raise InputError("a fold has no embeddings", row=fold.name, remedy="run the encoding of every fold")
        embeddings = load_fold(by_fold[key])
        check_membership(embeddings, fold.source, by_fold[key])
        run.seen[fold.name] |= {"inner_validation": list(fold.train.index), "encoder": embeddings.provenance}
        if run.is_empty(fold):
            continue
        for protocol, draw, chosen in training_sets(task, fold.train, *key, settings, seed):
            fitted_with = fewshot_settings(settings) if is_fewshot(protocol) else settings
            for modality in settings.modalities:
                if modality not in embeddings.modalities:
                    continue
                x, rows = embeddings.matrix(modality, chosen)
                x_test, rows_test = embeddings.matrix(modality, list(fold.test.index))
                where = f"{fold.name}, {protocol}, {modality}"
                if not rows or not rows_test:
                    run.notes.append(f"{where}: no patients with this modality")
                    continue
                train, test = fold.train.loc[rows], fold.test.loc[rows_test]
                for head in heads_of(task, settings):
                    with run.attempt(f"{where}, {head}"):
                        found, notes = fit_task(task, head, x, train, x_test, test, fitted_with, seed)
                        how: dict[str, Any] = {
                            "protocol": protocol,
                            "modality": modality,
                            "head": head,
                            "place": {"draw": draw},
                        }
                        run.add(found, fold, **how, notes=notes, where=f"{where}, {head}", train=train)
    return run.result(list(by_fold.values()))
