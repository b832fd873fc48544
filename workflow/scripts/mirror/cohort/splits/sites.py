"""Site-preserving folds: all patients of a submitting site are tested in the same fold.

Histology carries a signature of the site that scanned it, and sites differ in case mix, so a
model may score well by knowing the site (Howard et al., Nature Communications 2021,
doi 10.1038/s41467-021-24698-1, who assign sites by quadratic programming). Here the same
aim is reached without a commercial solver, by a greedy start and a local search.

Objective, to be minimised over assignments of sites to K folds::

    J = sum over groupings g (all patients, label, event, label x event)
        sum over categories c of g, sum over folds k of
        (n_kc - n_c / K)^2 / n_c

where ``n_kc`` counts category ``c`` in fold ``k``: chi-square-like, so that a rare label
weighs as much as a common one. ``J = 0`` is perfect balance.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...core.barcodes import site_of
from ...core.errors import InputError

UNKNOWN = "(unknown)"
_GAIN = 1e-9


def sites_of(table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Site of each patient: its ``site`` cell, else the tissue source site of a TCGA barcode.

    Patients whose site is not known stay together as one site, because nothing shows that
    they come from different ones.

    Parameters
    ----------
    table : DataFrame
        ``patient_id`` and optionally ``site``.

    Returns
    -------
    sites : ndarray of str, (n,)
        Site of each row.
    messages : list of str
        What was assumed.
    """
    given = table["site"].tolist() if "site" in table else [None] * len(table)
    sites = []
    for patient, site in zip(table["patient_id"], given, strict=True):
        known = "" if site is None or pd.isna(site) else str(site).strip()
        sites.append(known or site_of(patient) or UNKNOWN)
    unknown = sites.count(UNKNOWN)
    messages = [f"{unknown} patients have no known site; they are kept together as one site"] if unknown else []
    return np.array(sites, dtype=str), messages


def imbalance(counts: np.ndarray) -> float:
    """The objective J of a (K, C) table of counts a fold and category."""
    totals = counts.sum(axis=0)
    used = totals > 0
    gaps = counts[:, used] - totals[used] / len(counts)
    return float((gaps**2 / totals[used]).sum())


def assign_sites(
    sites: np.ndarray,
    groupings: list[np.ndarray],
    folds: int,
    repeats: int,
    seed: int,
    restarts: int = 200,
    messages: list[str] | None = None,
) -> list[np.ndarray]:
    """Assign whole sites to folds, balancing every grouping.

    Each start takes the sites from the largest to the smallest (the order disturbed at random)
    and puts each where J rises least; then single moves and swaps of two sites are made, the
    best first, while they lower J. Of ``restarts`` starts a repeat the best partition is kept
    that no earlier repeat has used.

    Parameters
    ----------
    sites : ndarray of str, (n,)
        Site of each patient, in an order that does not depend on the input's.
    groupings : list of ndarray of str, (n,)
        Groupings whose categories are balanced, besides the number of patients.
    folds, repeats, seed, restarts : int
        Sizes and seed.
    messages : list of str, optional
        Receives notes for the report.

    Returns
    -------
    list of ndarray of int, (n,)
        Test fold of each patient, one array a repeat.

    Raises
    ------
    InputError
        Fewer sites than folds.
    """
    names, site_index = np.unique(sites, return_inverse=True)
    if len(names) < folds:
        raise InputError(
            f"{len(names)} sites cannot fill {folds} site-preserving folds",
            remedy="lower folds, use kind: stratified, or name the site column in the clinical source",
        )
    # The first column counts patients, so that folds are balanced in size too.
    profile = np.concatenate([np.ones((len(sites), 1)), *map(_one_hot, groupings)], axis=1)
    per_site = np.zeros((len(names), profile.shape[1]))
    np.add.at(per_site, site_index, profile)
    notes = messages if messages is not None else []
    used: set[tuple[tuple[int, ...], ...]] = set()
    result = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        found: list[tuple[float, np.ndarray]] = [_one_start(per_site, folds, rng) for _ in range(restarts)]
        found.sort(key=lambda pair: pair[0])
        fresh = [pair for pair in found if _partition(pair[1], folds) not in used]
        if not fresh:
            notes.append(f"repeat {repeat}: few sites, the partition of an earlier repeat is used again")
        score, assignment = (fresh or found)[0]
        used.add(_partition(assignment, folds))
        assignment = rng.permutation(folds)[assignment]
        sizes = np.bincount(assignment[site_index], minlength=folds)
        notes.append(f"repeat {repeat}: {len(names)} sites; test patients per fold {sizes.tolist()}; J = {score:.4g}")
        result.append(assignment[site_index])
    return result


def _one_start(per_site: np.ndarray, folds: int, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """Greedy construction followed by local search; J and the fold of each site (S,)."""
    sizes = per_site[:, 0]
    weights = 1.0 / np.maximum(per_site.sum(axis=0), 1.0)
    target = per_site.sum(axis=0) / folds
    order = np.argsort(-sizes * rng.uniform(0.7, 1.3, len(sizes)), kind="stable")
    counts = np.zeros((folds, per_site.shape[1]))
    assignment = np.zeros(len(sizes), dtype=int)
    for rank, site in enumerate(order):
        rise = (weights * (2 * counts * per_site[site] + per_site[site] ** 2 - 2 * target * per_site[site])).sum(axis=1)
        empty = counts[:, 0] == 0
        # No fold may stay empty: the last sites go to empty folds if as many are left.
        if empty.sum() >= len(order) - rank:
            rise = np.where(empty, rise, np.inf)
        fold = int(np.argmin(rise))
        assignment[site] = fold
        counts[fold] += per_site[site]
    _search(per_site, counts, assignment, weights)
    return imbalance(counts), assignment


def _search(per_site: np.ndarray, counts: np.ndarray, assignment: np.ndarray, weights: np.ndarray) -> None:
    """Best-improvement moves and swaps, in place, until none lowers J."""
    while True:
        site, fold, gain = _best_move(per_site, counts, assignment, weights)
        first, second, swap_gain = _best_swap(per_site, counts, assignment, weights)
        if max(gain, swap_gain) <= _GAIN:
            return
        changes = [(site, fold)]
        if swap_gain > gain:
            changes = [(first, int(assignment[second])), (second, int(assignment[first]))]
        for which, target in changes:
            counts[assignment[which]] -= per_site[which]
            counts[target] += per_site[which]
            assignment[which] = target


def _best_move(
    per_site: np.ndarray, counts: np.ndarray, assignment: np.ndarray, weights: np.ndarray
) -> tuple[int, int, float]:
    """The site and fold whose move lowers J most, and by how much."""
    # For a shift v from fold a to b the sum of squares changes by 2 v (n_b - n_a + v).
    dot = (per_site * weights) @ counts.T
    own = dot[np.arange(len(per_site)), assignment]
    gain = -2 * (dot - own[:, None] + ((per_site**2) * weights).sum(axis=1)[:, None])
    gain[np.arange(len(per_site)), assignment] = -np.inf
    alone = np.bincount(assignment, minlength=len(counts))[assignment] == 1
    gain[alone] = -np.inf
    site, fold = np.unravel_index(int(np.argmax(gain)), gain.shape)
    return int(site), int(fold), float(gain[site, fold])


def _best_swap(
    per_site: np.ndarray, counts: np.ndarray, assignment: np.ndarray, weights: np.ndarray
) -> tuple[int, int, float]:
    """The two sites of different folds whose exchange lowers J most, and by how much."""
    # A swap shifts v = p_i - p_j from i's fold a to j's fold b: change 2 v (n_b - n_a + v).
    scaled = per_site * weights
    gram = scaled @ per_site.T
    norm = np.diag(gram)
    dot = scaled @ counts.T
    in_other = dot[:, assignment]
    in_own = in_other[np.arange(len(per_site)), np.arange(len(per_site))]
    v_nb = in_other - in_own[None, :]
    v_na = in_own[:, None] - in_other.T
    gain = -2 * (v_nb - v_na + norm[:, None] + norm[None, :] - 2 * gram)
    gain[assignment[:, None] == assignment[None, :]] = -np.inf
    first, second = np.unravel_index(int(np.argmax(gain)), gain.shape)
    return int(first), int(second), float(gain[first, second])


def _one_hot(values: np.ndarray) -> np.ndarray:
    """(n, C) indicator of each value."""
    names, index = np.unique(values, return_inverse=True)
    return np.eye(len(names))[index]


def _partition(assignment: np.ndarray, folds: int) -> tuple[tuple[int, ...], ...]:
    """The partition without the folds' names."""
    return tuple(sorted(tuple(np.flatnonzero(assignment == k).tolist()) for k in range(folds)))
