"""k-shot training sets: k patients per class, without replacement, nested where there are several k."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..core.protocols import FEWSHOT, fewshot_protocol, shots
from .registry import Target


def draw_shots(groups: np.ndarray, k: int, seed: int, repeat: int, fold: int, draw: int) -> np.ndarray:
    """Draw k members of each group without replacement.

    Parameters
    ----------
    groups : ndarray, shape (n,)
        Class, or time bin, of each training patient.
    k : int
    seed, repeat, fold, draw : int
        Together they seed the draw, so that every method sees the same patients.

    Returns
    -------
    ndarray of int64
        Sorted positions into ``groups``; a group with fewer than k members is taken whole. The first members of
        one permutation per group, whatever k is: a draw of fewer is part of the draw of more.
    """
    rng = np.random.default_rng([seed, repeat, fold, draw])
    chosen = [
        rng.permutation(np.flatnonzero(groups == group))[:k]  # a permutation cut short: no member twice
        for group in np.unique(groups)
    ]
    return np.sort(np.concatenate(chosen))


def fewshot_settings(settings: EvaluationSettings) -> EvaluationSettings:
    """Settings of heads that are fitted on a draw: penalties of `fewshot.C`, no refits (the draws vary instead)."""
    grid = list(settings.fewshot.C)
    return settings.model_copy(
        update={
            "probe": settings.probe.model_copy(update={"C": grid}),
            "survival": settings.survival.model_copy(update={"cox_C": grid}),
            "statistics": settings.statistics.model_copy(update={"refits": 0}),
        }
    )


def training_sets(
    task: Any, table: pd.DataFrame, repeat: int, fold: int, settings: EvaluationSettings, seed: int
) -> Iterator[tuple[str, int, list[str]]]:
    """Training sets of one fold: all its patients, and the k-shot draws, the same ones for every method.

    Draw d of a smaller k is a subset of draw d of a larger one.

    Parameters
    ----------
    task : Target, or the name of a short form
    table : DataFrame
        Training patients with a known outcome, indexed by patient_id.
    repeat, fold : int
    settings : EvaluationSettings
        ``protocols`` says which sets are wanted.
    seed : int

    Yields
    ------
    protocol : str
        "linear", and "fewshot" or, for each of several k, "fewshot_{k}".
    draw : int
    patients : list of str
    """
    if "linear" in settings.protocols:
        yield "linear", 0, list(table.index)
    if FEWSHOT in settings.protocols:
        every = shots(settings.fewshot.k)
        for number in every:
            groups, k = Target.of(task).rules.shots(table, number, settings)
            for draw in range(settings.fewshot.draws):
                chosen = draw_shots(groups, k, seed, repeat, fold, draw)
                yield fewshot_protocol(number, every), draw, list(table.index[chosen])
