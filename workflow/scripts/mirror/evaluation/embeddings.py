"""Frozen embeddings of all folds -> predictions, for one task."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..core.errors import InputError
from ..core.folds import parse_fold
from ..core.hashing import sha256_file
from ..heads.survival import TooFewEvents
from ..io.embeddings import check_membership, load_fold
from ..io.predictions import Names, Result, empty, stamp
from ..io.splits import iterate_folds
from ..targets.base import who_takes_part
from ..targets.fewshot import fewshot_settings, training_sets
from ..targets.fit import fit_task, heads_of

log = logging.getLogger(__name__)


def evaluate_embeddings(
    files: Sequence[str | Path],
    patients: pd.DataFrame,
    splits: pd.DataFrame,
    task: str,
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
    task : {"subtyping", "survival"}
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
    known, notes = who_takes_part(patients, task)
    parts, seen = [], {}
    for fold in iterate_folds(splits):
        if (fold.repeat, fold.fold) not in by_fold:
            raise InputError("a fold has no embeddings", row=fold.name, remedy="run the encoding of every fold")
        path = by_fold[fold.repeat, fold.fold]
        embeddings = load_fold(path)
        check_membership(embeddings, fold, path)
        train = [p for p in fold.train if p in known.index]
        test = [p for p in fold.test if p in known.index]
        seen[fold.name] = {"train": train, "inner_validation": train, "encoder": embeddings.provenance}
        if not train or not test:
            if len(known):
                notes.append(f"{fold.name}: no {'training' if not train else 'test'} patients with a known outcome")
            continue
        for protocol, draw, chosen in training_sets(task, known.loc[train], fold.repeat, fold.fold, settings, seed):
            how = fewshot_settings(settings) if protocol == "fewshot" else settings
            for modality in settings.modalities:
                if modality not in embeddings.modalities:
                    continue
                x, rows = embeddings.matrix(modality, chosen)
                x_test, rows_test = embeddings.matrix(modality, test)
                where = f"{fold.name}, {protocol}, {modality}"
                if not rows or not rows_test:
                    notes.append(f"{where}: no patients with this modality")
                    continue
                for head in heads_of(task, settings):
                    try:
                        found, remarks = fit_task(
                            task, head, x, known.loc[rows], x_test, known.loc[rows_test], how, seed
                        )
                    except TooFewEvents as reason:
                        notes.append(f"{where}, {head}: left out, {reason}")
                        continue
                    notes += [f"{where}, {head}: {remark}" for remark in remarks]
                    parts.append(
                        stamp(
                            found,
                            names,
                            task=task,
                            protocol=protocol,
                            modality=modality,
                            head=head,
                            repeat=fold.repeat,
                            fold=fold.fold,
                            draw=draw,
                            seed=seed,
                            train_n=len(rows),
                            train_events=known.loc[rows, "event"].sum() if task == "survival" else None,
                        )
                    )
    for note in dict.fromkeys(notes):
        log.warning("%s %s %s: %s", names.cohort, names.method, task, note)
    metadata = {
        "patients": seen,
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "sources": [{"file": str(path), "sha256": sha256_file(path)} for path in by_fold.values()],
        "notes": list(dict.fromkeys(notes)),
    }
    return Result(pd.concat(parts, ignore_index=True) if parts else empty(task), metadata)
