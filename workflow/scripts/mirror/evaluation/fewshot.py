"""k-shot training sets: k patients a class, without replacement."""

from __future__ import annotations

import numpy as np

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
