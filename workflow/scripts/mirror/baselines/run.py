"""Run one baseline over the folds of a scheme."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..core.errors import InputError
from ..core.protocols import fewshot_name, is_fewshot
from ..dataset.patches import Slides
from ..io.predictions import Names, Result
from ..targets.fewshot import fewshot_settings, training_sets
from ..targets.fit import rows_of
from ..targets.folds import FoldRun
from ..targets.registry import Target
from . import find_baseline
from .fold_data import COVARIATES, Expression, FoldData


def read_expression(rna: str | Path, transforms: Sequence[str | Path]) -> dict[str, Expression]:
    """Readers of each fold's transformed genes.

    Parameters
    ----------
    rna : path-like
        The cohort's normalised expression.
    transforms : sequence of path-like
        ``transform_{fold}.npz``.

    Returns
    -------
    dict of fold name to callable
        ``(patients) -> (float32 (n, G), those of them that have RNA)``.
    """
    import anndata

    from ..rna.transform import Transform

    adata = anndata.read_h5ad(rna)
    known = set(adata.obs_names)

    def reader(transform: Transform) -> Expression:
        def read(patients: Sequence[str]) -> tuple[np.ndarray, list[str]]:
            have = [p for p in patients if p in known]
            genes = len(transform.genes)
            return (transform.apply(adata, have) if have else np.empty((0, genes), np.float32)), have

        return read

    return {Path(path).stem.removeprefix("transform_"): reader(Transform.load(path)) for path in transforms}


def evaluate_baseline(
    name: str,
    patients: pd.DataFrame,
    splits: pd.DataFrame,
    task: Any,
    names: Names,
    settings: EvaluationSettings,
    seed: int,
    slides: Slides | None = None,
    expression: Mapping[str, Expression] | None = None,
    sources: Sequence[str | Path] = (),
    device: str = "cpu",
    covariates: Sequence[str] = COVARIATES,
) -> Result:
    """Train and test one baseline in every fold.

    Parameters
    ----------
    name : str
        See `mirror.baselines`.
    patients, splits, task, names, settings, seed
        See `evaluate_embeddings`.
    slides : Slides, optional
    expression : mapping of fold name to callable, optional
        See `read_expression`.
    sources : sequence of path-like
        Files whose hashes go into the metadata.
    device : str
        Where networks on bags of patches train.
    covariates : sequence of str
        Columns of ``patients`` that may be used as clinical covariates.

    Returns
    -------
    Result
        Without rows where the cohort lacks what the baseline needs; ``metadata["notes"]`` says
        what it lacks.
    """
    chosen = find_baseline(name)
    task = Target.of(task)
    if task.kind not in chosen.kinds:
        raise InputError(
            f"baseline {name} does not predict {task.name}, a target of kind {task.kind}",
            remedy=f"its kinds: {', '.join(chosen.kinds)}",
        )
    run = FoldRun(task, patients, splits, names, settings, seed, level=logging.INFO)
    for fold in run:
        if run.is_empty(fold):
            continue
        genes = None if expression is None else expression.get(fold.name)
        # Over all training patients, in few-shot draws too: no outcome is read, and the models' input is scaled so.
        seen = None if slides is None else slides.scaled(settings.baseline.slide_scaling, list(fold.train.index))
        sets = [("supervised", 0, list(fold.train.index))]
        if chosen.fewshot:
            drawn = training_sets(task, fold.train, fold.source.repeat, fold.source.fold, settings, seed)
            sets += [one for one in drawn if is_fewshot(one[0])]
        for protocol, draw, rows in sets:
            few = is_fewshot(protocol)
            where = f"{fold.name}, {fewshot_name(protocol)} draw {draw}" if few else fold.name
            how: dict[str, Any] = {
                "slides": seen,
                "expression": genes,
                "covariates": tuple(covariates),
                "device": device,
            }
            train, fitted_with = fold.train.loc[rows], fewshot_settings(settings) if few else settings
            data = FoldData(task, train, fold.test, fitted_with, seed, **how)
            with run.attempt(where):
                found = chosen.method().fit(data).predict(data.held_out)
                run.notes += [f"{where}: {note}" for note in data.notes]
                for one in found:
                    predicted = rows_of(one.prediction, fold.test.loc[list(one.patients)], task).assign(**one.columns)
                    place = {"protocol": protocol, "modality": chosen.modality, "head": one.head}
                    run.add(predicted, fold, **place, place={"draw": draw}, train=train)
    return run.result(sources, description=chosen.description)
