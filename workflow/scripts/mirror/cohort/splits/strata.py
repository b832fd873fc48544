"""Folds that are balanced in several targets at once, by iterative stratification.

Each target puts a patient into one category (a class, an event and time tertile, a quartile). Categories are taken from
the rarest to the most common, and each of their patients goes to the fold that lacks that category most [1]_.

References
----------
.. [1] Sechidis, Tsoumakas and Vlahavas, On the stratification of multi-label data, ECML PKDD 2011.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

PREFIX = "stratum:"


def gather(patients: Sequence[str], columns: Mapping[str, pd.Series]) -> pd.DataFrame:
    """One row per patient with columns of several tables that are indexed by patient."""
    out = pd.DataFrame({"patient_id": list(patients)})
    for name, values in columns.items():
        out[name] = values.reindex(out["patient_id"]).to_numpy()
    return out


def strata_of(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Categories by target, str (n,), empty where unknown; none where a table has label, time and event instead."""
    return {
        name.removeprefix(PREFIX): np.array(["" if pd.isna(v) else str(v) for v in table[name]], dtype=str)
        for name in table
        if str(name).startswith(PREFIX)
    }


def deal_jointly(strata: Sequence[np.ndarray], folds: int, rng: np.random.Generator) -> np.ndarray:
    """Test fold of each patient by iterative stratification.

    Parameters
    ----------
    strata : sequence of ndarray of str, (n,)
        Category of each patient by target; an empty one is balanced too, as the patients without an outcome.
    folds : int
    rng : Generator
        Breaks ties.

    Returns
    -------
    ndarray of int, (n,)
    """
    n = len(strata[0])
    member = np.concatenate(
        [np.unique(values, return_inverse=True)[1][:, None] == np.arange(len(set(values))) for values in strata], axis=1
    )
    wanted = np.repeat(member.sum(axis=0)[None, :] / folds, folds, axis=0)
    room = np.full(folds, n / folds)
    result = np.full(n, -1)
    free = np.ones(n, dtype=bool)
    while free.any():
        left = member[free].sum(axis=0)
        # The rarest category with patients left; of several, one by chance.
        rare = np.flatnonzero(left == left[left > 0].min())
        category = int(rng.choice(rare))
        for patient in rng.permutation(np.flatnonzero(free & member[:, category])):
            # The fold that lacks the category most, then the one that lacks patients most, then chance.
            order = np.lexsort((rng.random(folds), -room, -wanted[:, category]))
            fold = int(order[0])
            result[patient] = fold
            wanted[fold, member[patient]] -= 1
            room[fold] -= 1
            free[patient] = False
    return result


def rare_strata(strata: Mapping[str, np.ndarray], fold_of: Sequence[np.ndarray], folds: int) -> list[str]:
    """Name the categories that some fold tests none of."""
    messages = []
    for target, values in strata.items():
        for category in sorted(set(values) - {""}):
            rows = values == category
            counts = np.array([np.bincount(fold[rows], minlength=folds) for fold in fold_of])
            empty = int((counts == 0).sum())
            if empty:
                size = f"{int(rows.sum())} patients"
                messages.append(f"{target}, {category}: {size}; {empty} of {counts.size} folds test none of them")
    return messages
