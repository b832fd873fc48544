"""k-shot training sets: k patients a class, without replacement."""

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
    """Time bins of training patients, at quantiles of their event times, for k-shot draws."""
    return assign_bins(time, time_bins(time, event, bins))


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
        if task == "subtyping":
            groups = table["label"].to_numpy(str)
        else:
            groups = survival_groups(table["time_days"].to_numpy(float), table["event"], settings.survival.bins)
        for draw in range(settings.fewshot.draws):
            chosen = draw_shots(groups, settings.fewshot.k, seed, repeat, fold, draw)
            yield "fewshot", draw, list(table.index[chosen])
