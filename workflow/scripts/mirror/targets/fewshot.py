"""k-shot training sets: k patients per class, without replacement."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..heads.hazards import assign_bins, time_bins


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
        Sorted positions into ``groups``; a group with fewer than k members is taken whole.
    """
    rng = np.random.default_rng([seed, repeat, fold, draw])
    chosen = [
        rng.permutation(np.flatnonzero(groups == group))[:k]  # a permutation cut short: no member twice
        for group in np.unique(groups)
    ]
    return np.sort(np.concatenate(chosen))


def survival_groups(time: np.ndarray, event: np.ndarray, bins: int) -> np.ndarray:
    """Time bin and event of training patients, for k-shot draws: int64 (n,).

    Bins lie at quantiles of the event times. Events are a stratum of their own: drawn by time alone, most
    draws of a cohort with few deaths hold too few of them for any model.
    """
    return assign_bins(time, time_bins(time, event, bins)) * 2 + (np.asarray(event) == 1)


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
    task: str, table: pd.DataFrame, repeat: int, fold: int, settings: EvaluationSettings, seed: int
) -> Iterator[tuple[str, int, list[str]]]:
    """Training sets of one fold: all its patients, and the k-shot draws, the same ones for every method.

    Parameters
    ----------
    task : {"subtyping", "survival"}
    table : DataFrame
        Training patients with a known outcome, indexed by patient_id.
    repeat, fold : int
    settings : EvaluationSettings
        ``protocols`` says which sets are wanted.
    seed : int

    Yields
    ------
    protocol : {"linear", "fewshot"}
    draw : int
    patients : list of str
    """
    if "linear" in settings.protocols:
        yield "linear", 0, list(table.index)
    if "fewshot" in settings.protocols:
        k = settings.fewshot.k
        if task == "subtyping":
            groups = table["label"].to_numpy(str)
        else:
            time, event = table["time_days"].to_numpy(float), table["event"].to_numpy(float)
            groups = survival_groups(time, event, settings.survival.bins)
            k = -(-k // 2)  # half of a bin's patients with an event, half without
        for draw in range(settings.fewshot.draws):
            chosen = draw_shots(groups, k, seed, repeat, fold, draw)
            yield "fewshot", draw, list(table.index[chosen])
