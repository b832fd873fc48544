"""Run one baseline over the folds of a scheme."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..core.errors import InputError
from ..core.hashing import sha256_file
from ..dataset.patches import Slides
from ..heads.survival import TooFewEvents
from ..io.predictions import Names, Result, empty, stamp
from ..io.splits import iterate_folds
from ..targets.base import who_takes_part
from ..targets.fewshot import fewshot_settings, training_sets
from . import Unusable, find_baseline
from .fold_data import FoldData

log = logging.getLogger(__name__)
Expression = Callable[[Sequence[str]], tuple[np.ndarray, list[str]]]


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
    task: str,
    names: Names,
    settings: EvaluationSettings,
    seed: int,
    slides: Slides | None = None,
    expression: Mapping[str, Expression] | None = None,
    sources: Sequence[str | Path] = (),
    device: str = "cpu",
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

    Returns
    -------
    Result
        Without rows where the cohort lacks what the baseline needs; ``metadata["notes"]`` says
        what it lacks.
    """
    chosen = find_baseline(name)
    if task not in chosen.tasks:
        raise InputError(f"baseline {name} does not do {task}", remedy=f"its tasks: {', '.join(chosen.tasks)}")
    known, notes = who_takes_part(patients, task)
    parts, seen = [], {}
    for fold in iterate_folds(splits):
        train = known.loc[[p for p in fold.train if p in known.index]]
        test = known.loc[[p for p in fold.test if p in known.index]]
        seen[fold.name] = {"train": list(train.index)}
        if not len(train) or not len(test):
            if len(known):
                side = "training" if not len(train) else "test"
                notes.append(f"{fold.name}: no {side} patients with a known outcome")
            continue
        genes = None if expression is None else expression.get(fold.name)
        sets = [("supervised", 0, list(train.index))]
        if chosen.fewshot:
            drawn = training_sets(task, train, fold.repeat, fold.fold, settings, seed)
            sets += [(protocol, draw, rows) for protocol, draw, rows in drawn if protocol == "fewshot"]
        for protocol, draw, rows in sets:
            where = fold.name if protocol == "supervised" else f"{fold.name}, few-shot draw {draw}"
            fitted_with = fewshot_settings(settings) if protocol == "fewshot" else settings
            data = FoldData(task, train.loc[rows], test, fitted_with, seed, slides, genes, device=device)
            try:
                found = chosen.fit(data)
            except (Unusable, TooFewEvents) as reason:
                notes.append(f"{where}: left out, {reason}")
                continue
            notes += [f"{where}: {note}" for note in data.notes]
            for head, predicted in found:
                place = {"repeat": fold.repeat, "fold": fold.fold, "draw": draw, "seed": seed}
                how = {"task": task, "protocol": protocol, "modality": chosen.modality, "head": head}
                size = {"train_n": len(rows), "train_events": train.loc[rows, "event"].sum()}
                size["train_events"] = size["train_events"] if task == "survival" else None
                parts.append(stamp(predicted, names, **how, **place, **size))
    notes = list(dict.fromkeys(notes))
    for note in notes:
        log.info("%s %s %s: %s", names.cohort, name, task, note)
    metadata = {
        "patients": seen,
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "sources": [{"file": str(path), "sha256": sha256_file(path)} for path in sources],
        "notes": notes,
        "description": chosen.description,
    }
    return Result(pd.concat(parts, ignore_index=True) if parts else empty(task), metadata)
