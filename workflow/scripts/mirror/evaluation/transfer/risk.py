"""Zero-shot transfer of risk: survival heads of one cohort applied to the patients of another."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...config.evaluation import EvaluationSettings
from ...core.errors import InputError
from ...core.folds import fold_name, parse_fold
from ...core.patient_keys import patient_key
from ...io.embeddings import FoldEmbeddings, check_membership, load_fold
from ...io.predictions import Names, Result
from ...targets.base import usable
from ...targets.fit import fit_head, rows_of
from ...targets.folds import FoldRun


def transfer_risk(
    source_files: Sequence[str | Path],
    source_patients: pd.DataFrame,
    source_splits: pd.DataFrame,
    target_files: Sequence[str | Path],
    target_patients: pd.DataFrame,
    names: Names,
    settings: EvaluationSettings,
    seed: int,
    allowed: Collection[str] | None = None,
    task: Any = "survival",
) -> Result:
    """Fit a survival head in the source cohort and rank the target cohort, which nothing was fitted on.

    Parameters
    ----------
    source_files, target_files : sequence of path-like
        ``{fold}.h5ad``: embeddings of either cohort by the SAME checkpoints, one a fold of the
        source's splits.
    source_patients, target_patients : DataFrame
        Indexed by patient_id.
    source_splits : DataFrame
        Only training patients of the source are fitted on, so that its own figures stay comparable.
    names : Names
        ``cohort`` is the target; name the source in ``scheme`` (for example ``cv5_from_BRCA``).
    settings, seed
        See `evaluate_embeddings`.
    allowed : collection of str, optional
        Patients of the target that may count; all by default. Whoever is in the source as well,
        under any form of the identifier, counts nowhere.
    task : Target, optional
        The survival target, of both cohorts.

    Returns
    -------
    Result
        Protocol ``transfer``. Every fold's model predicts every target patient: the model's
        repeat and fold become the row's ``draw`` (numbered), so that metrics are averaged over
        models and no patient counts twice. The risk threshold is the source's training median.

    Raises
    ------
    InputError
        No patient of the target is left; a fold lacks embeddings; the two cohorts' embeddings of a
        fold are of two checkpoints.
    """
    by_fold = {parse_fold(Path(path).stem): Path(path) for path in target_files}
    target = usable(target_patients, task)
    here_too = {patient_key(p) for p in source_patients.index}
    both = [p for p in target.index if patient_key(p) in here_too]
    target = target.drop(index=both)
    if allowed is not None:
        target = target[target.index.isin(set(allowed))]
    if target.empty:
        raise InputError(
            f"no patient of the target is left ({len(both)} with an outcome are in the source too)",
            remedy="name a target cohort of other patients with known outcomes",
        )
    sources = {parse_fold(Path(path).stem): Path(path) for path in source_files}
    run = FoldRun(task, source_patients, source_splits, names, settings, seed, tested=target)
    if both:
        left_out = f"{len(both)} patients of the target are in the source too and were left out, {both[0]} first"
        run.notes.append(left_out)
    for draw, fold in enumerate(run):
        key = (fold.source.repeat, fold.source.fold)
        if key not in sources or key not in by_fold:
            raise InputError("a fold has no embeddings in one of the cohorts", row=fold_name(*key))
        here, there = load_fold(sources[key]), load_fold(by_fold[key])
        check_membership(here, fold.source, sources[key])
        _check_same_model(here, there, by_fold[key])
        run.seen[fold.name] |= {"inner_validation": list(fold.train.index), "encoder": here.provenance}
        for modality in settings.modalities:
            if modality not in here.modalities or modality not in there.modalities:
                continue
            x, rows = here.matrix(modality, list(fold.train.index))
            x_test, rows_test = there.matrix(modality, list(fold.test.index))
            if not rows or not rows_test:
                run.notes.append(f"{fold.name}, {modality}: no patients with this modality")
                continue
            if x.shape[1] != x_test.shape[1]:
                raise InputError(
                    f"embeddings {x.shape[1]} and {x_test.shape[1]} wide: not of one checkpoint", file=by_fold[key]
                )
            train, test = fold.train.loc[rows], fold.test.loc[rows_test]
            for head in settings.survival.models:
                where = f"{fold.name}, {modality}, {head}"
                with run.attempt(where):
                    model = fit_head(run.target, head, x, train, settings, seed)
                    found = rows_of(model.prediction(x_test), test, run.target)
                    how = {"protocol": "transfer", "modality": modality, "head": head}
                    place = {"repeat": 0, "fold": 0, "draw": draw}
                    run.add(found, fold, **how, place=place, notes=model.notes_, where=where)
    return run.result([*sources.values(), *by_fold.values()])


def _check_same_model(here: FoldEmbeddings, there: FoldEmbeddings, path: Path) -> None:
    recorded = [e.provenance.get("checkpoint_sha256") for e in (here, there)]
    if all(recorded) and recorded[0] != recorded[1]:
        raise InputError(
            "embedded with another checkpoint than the source cohort", file=path, remedy="delete it and run again"
        )
