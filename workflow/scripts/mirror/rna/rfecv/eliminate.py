"""Recursive feature elimination with cross-validation for the linear SVM, from Gram matrices.

The result is that of scikit-learn's ``RFECV(LinearSVC(C), step=step, cv=splits)`` [1]_: the same
rounds, the same ranking by squared weights summed over classes, the same choice of the number of
features (best mean accuracy, ties to the fewer features). What differs is the cost. The SVM needs
an n x n matrix of inner products, which the features dropped in a round change by
``K -= X_drop' X_drop``; solving costs no more with 200,000 features than with 200. All inner
folds and the run on all samples advance together, so that a round reads the features once, to
turn every solution into weights and into decisions on the held-out samples.

With ``center=True`` the result is that of the pipeline ``StandardScaler(with_std=False)``,
``LinearSVC`` in each inner fold: centring is a projection of the Gram matrix. It matters where
all samples were centred together beforehand, as standardising does: the held-out samples' mean is
then minus the training samples' mean, the regularised intercept gives way to that direction when
features abound, and held-out accuracy falls below chance.

References
----------
.. [1] Guyon, Weston, Barnhill, Vapnik, Gene selection for cancer classification using support
   vector machines, Machine Learning 46:389-422, 2002.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from .blas import add_products, symmetric_times
from .svm import solve

BLOCK = 512
"""Features held in float64 at a time: 512 x 716 samples fit a core's cache."""
PARTS = 4
"""Partial sums of the first Gram matrix. Fixed, so that the number of threads changes no bit."""
WIDE_BYTES = 256 * 2**20
"""Up to this size the features are kept in float64, which saves every reading its conversion."""


@dataclass(frozen=True)
class Elimination:
    """What an elimination found.

    Attributes
    ----------
    support : ndarray, bool (p,)
        Features kept.
    ranking : ndarray, int64 (p,)
        1 for features kept, 2 for those dropped last, and so on.
    importance : ndarray, float32 (p,)
        Squared weights summed over classes in the fit on all samples with the kept features; 0
        for the others.
    n_features : ndarray, int64 (rounds,)
        Features in each round, descending.
    scores : ndarray, float64 (splits, rounds)
        Held-out accuracy.
    dropped_at : ndarray, int32 (splits + 1, p)
        Round in which each feature was dropped, per split and (last row) on all samples; -1 for
        features that were never dropped.
    """

    support: np.ndarray
    ranking: np.ndarray
    importance: np.ndarray
    n_features: np.ndarray
    scores: np.ndarray
    dropped_at: np.ndarray


@dataclass
class _Run:
    """One elimination: the samples it learns from, its Gram matrix and its state."""

    train: np.ndarray
    test: np.ndarray
    targets: np.ndarray  # (problems, n_train), -1 or 1
    classes: np.ndarray  # codes of the classes in train
    gram: np.ndarray  # X X' + 1 over the features alive, lower triangle
    alive: np.ndarray
    dropped_at: np.ndarray
    beta: list[np.ndarray | None] = field(default_factory=list)


def rfecv(
    x: np.ndarray,
    y: np.ndarray,
    splits: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    step: float = 0.05,
    C: float = 1.0,
    min_features: int = 1,
    center: bool = False,
    jobs: int | None = None,
) -> Elimination:
    """Eliminate features.

    Parameters
    ----------
    x : ndarray, float32 or float64 (n, p)
        Finite. Where it is large it is kept in its own precision (200,000 features of 716 samples are
        0.6 GB in float32); every product is taken in float64.
    y : ndarray (n,)
        Labels of two or more classes.
    splits : iterable of (train, test)
        Row numbers, as scikit-learn's splitters give them.
    step : float
        Share of the original number of features that a round drops, rounded down, at least one.
    C : float
        Weight of the SVM's loss.
    min_features : int
        Fewest features considered.
    center : bool
        Centre the features on each split's training samples.
    jobs : int, optional
        Threads, one BLAS thread each; by default the processors this process may use. The result
        does not depend on it.

    Returns
    -------
    Elimination

    Raises
    ------
    ValueError
        Fewer than two classes in ``y`` or in a split's training samples; values that are not
        finite.
    """
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError("the labels have one class only")
    n, n_total = x.shape
    folds = [(np.asarray(train), np.asarray(test)) for train, test in splits]
    # Samples held out together lie side by side, so that a fold's training samples are two slices.
    held_out = np.full(n, -1)
    for number, (_, test) in enumerate(folds):
        held_out[test] = number
    order = np.argsort(held_out, kind="stable")
    place = np.argsort(order)
    codes = codes[order]
    folds = [(np.sort(place[train]), place[test]) for train, test in folds]
    narrow = x.dtype == np.float32 and x.size * 8 > WIDE_BYTES
    features = np.empty((n_total, n), dtype=np.float32 if narrow else np.float64)

    def copy(at: int) -> bool:
        features[at : at + BLOCK] = x[order, at : at + BLOCK].T
        return bool(np.isfinite(features[at : at + BLOCK]).all())

    min_features = min(min_features, n_total)
    drop = max(1, int(step * n_total))
    jobs = jobs or len(os.sched_getaffinity(0))
    with threadpool_limits(limits=1), ThreadPoolExecutor(jobs) as pool:
        if not all(pool.map(copy, range(0, n_total, BLOCK))):
            raise ValueError("the features have values that are not finite")
        whole = _first_gram(features, pool)
        everyone = np.arange(n)
        runs = [_start(train, test, codes, whole, n_total) for train, test in [*folds, (everyone, everyone[:0])]]
        del whole
        sizes, scores, totals = [], [], []
        remaining, best = n_total, 0
        _for_each(runs, lambda _, run: _solve(run, C, center), pool)
        while True:
            betas = [np.stack(run.beta) for run in runs]  # type: ignore[arg-type]
            weights, decisions = _weights_and_decisions(features, runs, betas, center, pool)
            sizes.append(remaining)
            scores.append([_accuracy(run, decisions[k], codes) for k, run in enumerate(runs[:-1])])
            totals.append(sum(scores[-1]))
            if totals[-1] >= totals[best]:  # ties go to fewer features
                best, importance = len(sizes) - 1, weights[-1]
            if remaining <= min_features:
                break
            count = min(drop, remaining - min_features)

            def next_round(k: int, run: _Run) -> None:
                _eliminate(features, run, weights[k], count, len(sizes) - 1)  # noqa: B023 (ended before the next round)
                _solve(run, C, center)

            _for_each(runs, next_round, pool)
            remaining -= count
    dropped = runs[-1].dropped_at
    support = (dropped < 0) | (dropped >= best)
    ranking = np.where(support, 1, best - dropped.astype(np.int64) + 1)
    return Elimination(
        support,
        ranking,
        np.where(support, importance, 0).astype(np.float32),
        np.asarray(sizes),
        np.asarray(scores).T,
        np.stack([run.dropped_at for run in runs]),
    )


def _first_gram(features: np.ndarray, pool: ThreadPoolExecutor) -> np.ndarray:
    """``X X'`` over all features and samples, lower triangle."""

    def part(rows: np.ndarray) -> np.ndarray:
        return _add_products(np.zeros((n, n), order="F"), features, rows, [slice(0, n)], 1.0)

    n = features.shape[1]
    total = np.zeros((n, n), order="F")
    for piece in pool.map(part, np.array_split(np.arange(features.shape[0]), PARTS)):
        total += piece
    return total


def _add_products(
    gram: np.ndarray, features: np.ndarray, rows: np.ndarray, samples: Sequence[slice], sign: float
) -> np.ndarray:
    """``gram += sign * sum over rows of x_row x_row'``, lower triangle, in place."""
    for at in range(0, len(rows), BLOCK):
        read = features[rows[at : at + BLOCK]].astype(np.float64, copy=False)
        add_products(gram, read.T, samples, sign)
    return gram


def _slices(ascending: np.ndarray) -> list[slice]:
    """Runs of consecutive numbers."""
    breaks = np.flatnonzero(np.diff(ascending) != 1) + 1
    return [slice(int(run[0]), int(run[-1]) + 1) for run in np.split(ascending, breaks)]


def _start(train: np.ndarray, test: np.ndarray, codes: np.ndarray, whole: np.ndarray, n_features: int) -> _Run:
    present = np.unique(codes[train])
    if len(present) < 2:
        raise ValueError("a split's training samples have one class only")
    positive = present[1:] if len(present) == 2 else present
    targets = np.where(codes[train][None, :] == positive[:, None], 1.0, -1.0)
    return _Run(
        train,
        test,
        targets,
        present,
        np.asfortranarray(whole[np.ix_(train, train)] + 1.0),
        np.ones(n_features, dtype=bool),
        np.full(n_features, -1, dtype=np.int32),
        [None] * len(targets),
    )


def _for_each(runs: Sequence[_Run], work: Callable[[int, _Run], None], pool: ThreadPoolExecutor) -> None:
    """One task a run. The run on all samples, the last, is the longest and goes first."""
    tasks = [pool.submit(work, k, run) for k, run in reversed(list(enumerate(runs)))]
    for task in tasks:
        task.result()


def _solve(run: _Run, C: float, center: bool) -> None:
    """Solve a run's one-vs-rest problems; the solutions are the next round's start."""
    gram = run.gram
    if center:
        n = len(gram)
        means = symmetric_times(gram, np.ones(n), 1.0 / n)
        gram = np.asfortranarray(gram - (means[:, None] + (means - means.mean() - 1.0)))
    run.beta = [solve(gram, targets, C, start) for targets, start in zip(run.targets, run.beta, strict=True)]


def _weights_and_decisions(
    features: np.ndarray, runs: Sequence[_Run], betas: Sequence[np.ndarray], center: bool, pool: ThreadPoolExecutor
) -> tuple[np.ndarray, list[np.ndarray]]:
    """One reading of the features for all runs.

    Returns
    -------
    importance : ndarray, float32 (runs, p)
        Squared weights summed over classes. Single precision, so that weights equal up to
        rounding tie, as equal columns should, and the earlier one goes first.
    decisions : list of ndarray, float64 (problems, n_test)
    """
    owner = np.repeat(np.arange(len(runs)), [len(beta) for beta in betas])
    # One row a problem: with few of them, OpenBLAS is half as fast again on this side of the product.
    mix, intercept = np.zeros((len(owner), features.shape[1])), np.zeros((len(owner), 1))
    for row, (k, problem) in enumerate((k, p) for k, beta in enumerate(betas) for p in range(len(beta))):
        beta = betas[k][problem]
        intercept[row] = beta.sum()
        mix[row, runs[k].train] = beta - beta.mean() if center else beta
    alive = np.stack([run.alive for run in runs])
    rows = np.flatnonzero(alive.any(axis=0))
    blocks: list[slice | np.ndarray]
    if 2 * len(rows) > features.shape[0]:  # reading on past a few dead features is cheaper than gathering the others
        blocks = [slice(at, min(at + BLOCK, features.shape[0])) for at in range(0, features.shape[0], BLOCK)]
    else:
        blocks = [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)]
    importance = np.zeros((len(runs), features.shape[0]), dtype=np.float32)

    held_out = [_slices(run.test)[0] for run in runs[:-1]]  # samples held out together lie side by side

    def block(at: int) -> np.ndarray:
        some = blocks[at]
        part = features[some].astype(np.float64, copy=False)
        weights = mix @ part.T
        weights *= alive[:, some][owner]
        squares = weights**2
        decision = np.zeros_like(mix)
        for k in range(len(runs)):
            importance[k, some] = squares[owner == k].sum(axis=0)
        for k, samples in enumerate(held_out):
            decision[owner == k, samples] = weights[owner == k] @ part[:, samples]
        return decision

    decision = np.zeros_like(mix)
    for piece in pool.map(block, range(len(blocks))):
        decision += piece
    if center:  # a decision's mean over the training samples goes off; the Gram matrix tells it
        for row, k in enumerate(owner):  # type: ignore[assignment]
            run = runs[k]
            # gram holds the 1 of the intercept too, which a row of mix, summing to 0, does not see
            intercept[row] -= symmetric_times(run.gram, mix[row, run.train]).mean()
    decision += intercept
    return importance, [decision[owner == k][:, run.test] for k, run in enumerate(runs)]


def _accuracy(run: _Run, decision: np.ndarray, codes: np.ndarray) -> float:
    predicted = (decision[0] > 0).astype(int) if len(run.classes) == 2 else decision.argmax(axis=0)
    return float(np.mean(run.classes[predicted] == codes[run.test]))


def _eliminate(features: np.ndarray, run: _Run, importance: np.ndarray, count: int, round_: int) -> None:
    """Drop the ``count`` least important features of a run (ties: the earlier) and update its Gram matrix."""
    rows = np.flatnonzero(run.alive)
    values = importance[rows]
    bound = np.partition(values, count - 1)[count - 1]
    below = np.flatnonzero(values < bound)
    ties = np.flatnonzero(values == bound)[: count - len(below)]
    gone = rows[np.sort(np.concatenate([below, ties]))]
    run.alive[gone] = False
    run.dropped_at[gone] = round_
    samples = _slices(run.train)
    kept = np.flatnonzero(run.alive)
    if len(kept) < len(gone):  # cheaper afresh, and free of what subtracting has rounded away
        run.gram = _add_products(np.ones_like(run.gram, order="F"), features, kept, samples, 1.0)
    else:
        run.gram = _add_products(run.gram, features, gone, samples, -1.0)
