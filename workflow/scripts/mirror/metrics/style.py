"""How well style clusters cluster: use, cross-modal agreement, stability over folds. Functions of arrays."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from sklearn.metrics import adjusted_rand_score


class Agreement(NamedTuple):
    """Share of pairs on one prototype, what permuted pairs give, and the permutation p value."""

    value: float
    chance: float
    p: float


def usage(won: np.ndarray, k: int) -> np.ndarray:
    """Share of samples on each of ``k`` prototypes; int (n,) to float64 (k,)."""
    return np.bincount(won, minlength=k) / max(len(won), 1)


def perplexity(share: np.ndarray) -> float:
    """Effective number of prototypes in use: exp of the entropy of ``share`` (k,), between 1 and k."""
    used = share[share > 0]
    return float(np.exp(-(used * np.log(used)).sum())) if len(used) else float("nan")


def agreement(
    a: np.ndarray, b: np.ndarray, groups: np.ndarray | None = None, permutations: int = 999, seed: int = 0
) -> Agreement:
    """Whether two modalities of one sample fall on the same prototype.

    Parameters
    ----------
    a, b : ndarray of int (n,)
        Prototype of each sample's slide and RNA.
    groups : ndarray (n,), optional
        Pairs are permuted within groups only (folds, whose models have prototypes of their own).
    permutations, seed : int
        Random pairings behind the p value.

    Returns
    -------
    Agreement
        ``chance`` is the exact mean over all pairings: in each group the sum over prototypes of the
        product of both modalities' shares.
    """
    if not len(a):
        return Agreement(float("nan"), float("nan"), float("nan"))
    groups = np.zeros(len(a), int) if groups is None else np.asarray(groups)
    k = int(max(a.max(), b.max())) + 1
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    chance = sum(len(m) * float(usage(a[m], k) @ usage(b[m], k)) for m in members) / len(a)
    value = float((a == b).mean())
    rng = np.random.default_rng(seed)
    drawn = np.zeros(permutations)
    for m in members:
        drawn += [(a[m] == rng.permutation(b[m])).sum() for _ in range(permutations)]
    return Agreement(value, chance, float((1 + (drawn / len(a) >= value - 1e-12).sum()) / (permutations + 1)))


def stability(assignments: list[dict[str, int]], held_out: list[set[str]]) -> float:
    """Adjusted Rand index between the models of different folds, mean over pairs of folds.

    Parameters
    ----------
    assignments : list of dict
        One a fold: sample to prototype.
    held_out : list of set
        Samples that each fold's model was not trained on. A pair of folds is compared on the samples
        that at least one of its two models never saw.

    Returns
    -------
    float
        1 for the same partition, 0 at chance; NaN with fewer than two folds. A model that puts every
        sample on one prototype scores 0.
    """
    found = []
    for i, j in combinations(range(len(assignments)), 2):
        a, b = assignments[i], assignments[j]
        common = sorted((held_out[i] | held_out[j]) & a.keys() & b.keys())
        if len(common) < 2:
            continue
        x, y = np.array([a[s] for s in common]), np.array([b[s] for s in common])
        # Two trivial partitions are equal, but say nothing.
        trivial = len(set(x)) == 1 or len(set(y)) == 1
        found.append(0.0 if trivial else float(adjusted_rand_score(x, y)))
    return float(np.mean(found)) if found else float("nan")
