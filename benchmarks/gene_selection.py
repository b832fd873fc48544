"""Recursive gene elimination: ours against scikit-learn's, in one run on the same data.

    python benchmarks/gene_selection.py --samples 716 --features 20000
    python benchmarks/gene_selection.py --samples 716 --features 200000 --ours-only

The data are simulated: genes in modules that share factors, an unbalanced two-class label that
moves some of the modules, values rounded to single precision. Both sides get the
same array and the same folds. scikit-learn runs twice: as ``RFECV(LinearSVC(...), step=0.05, cv=5)``
is called, which takes one processor (``sklearn_s``), and with ``n_jobs`` set to the processors that
ours gets (``sklearn_all_jobs_s``): the stricter comparison. Where the two choose differently,
the first round in which a run drops other genes is fitted again by both, and our duality gap proves
whose order of the genes in question is the optimum's. Then scikit-learn runs again on ``--proof``
genes with a tolerance that leaves it no choice: the share should be 1. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from joblib.externals.loky import get_reusable_executor
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import RFECV
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from mirror.rna.rfecv.eliminate import Elimination, rfecv
from mirror.rna.rfecv.svm import primal_and_gap, solve

STEP, FOLDS, C = 0.05, 5, 1.0
TIGHT = {"dual": True, "tol": 1e-10, "max_iter": 1_000_000}
"""A LinearSVC that goes on to the optimum, as ours does."""


def simulate(samples: int, features: int, seed: int, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """Correlated genes and a label with about one patient in five positive.

    ``scale`` is ``z``: mean 0 and variance 1 in the population (not in the sample: centring on
    held-out samples too would tell a linear model about them), or ``log``: each gene with a level
    and a spread of its own, as log2 expression has them.
    """
    rng = np.random.default_rng(seed)
    n_modules = max(10, features // 100)
    y = (rng.random(samples) < 0.2).astype(int)
    factors = rng.normal(size=(samples, n_modules))
    informative = rng.choice(n_modules, max(2, n_modules // 20), replace=False)
    factors[:, informative] += (y[:, None] - 0.2) * rng.normal(0, 0.8, informative.size)
    x = np.empty((samples, features), dtype=np.float32)
    for at in range(0, features, 4096):
        width = min(4096, features - at)
        first, second = rng.integers(0, n_modules, (2, width))
        loading = rng.gamma(2.0, 0.35, width) * rng.choice([-1.0, 1.0], width)
        part = factors[:, first] * loading + 0.3 * factors[:, second] + rng.normal(size=(samples, width))
        part /= np.sqrt(loading**2 + 0.3**2 + 1)
        changed = np.flatnonzero(rng.random(width) < 0.05)  # genes that the label moves by themselves
        part[:, changed] += (y[:, None] - 0.2) * rng.normal(0, 0.35, changed.size)
        if scale == "log":
            part = rng.normal(3, 3, width) + part * rng.gamma(3, 0.4, width)
        x[:, at : at + width] = part
    return x, y


def cpu_seconds() -> float:
    """Processor time of this process and of the workers it has ended: what other programs do changes it little."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in used)


def ours(x: np.ndarray, y: np.ndarray, jobs: int, least: int = 1) -> tuple[Elimination, float]:
    """Our result and its seconds."""
    start = time.perf_counter()
    splits = StratifiedKFold(FOLDS).split(x[:, :1], y)
    found = rfecv(x, y, splits, step=STEP, C=C, min_features=least, jobs=jobs)
    return found, time.perf_counter() - start


def theirs(x: np.ndarray, y: np.ndarray, jobs: int, least: int = 1, **solver: Any) -> tuple[RFECV, float]:
    """scikit-learn's result and its seconds; ``solver`` goes to LinearSVC."""
    svc = LinearSVC(C=C, random_state=0, **solver)
    model = RFECV(svc, step=STEP, cv=FOLDS, n_jobs=jobs, min_features_to_select=least)
    wide = x.astype(np.float64)  # what LinearSVC computes in; converted once, outside the measurement
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(wide, y)
    seconds = time.perf_counter() - start
    get_reusable_executor().shutdown(wait=True)  # so that the workers' processor time is counted
    return model, seconds


def their_rounds(model: RFECV, run: int) -> np.ndarray:
    """Masks of the features alive in each round, largest first: inner folds, then the run on all samples."""
    if run < FOLDS:
        return np.asarray(model.cv_results_[f"split{run}_support"])[::-1]
    rank = model.ranking_
    return np.stack([rank <= level for level in range(rank.max(), 0, -1)])


def share(found: Elimination, model: RFECV) -> float:
    """Genes chosen by both, as a share of the larger choice."""
    return float(np.count_nonzero(found.support & model.support_) / max(found.support.sum(), model.n_features_))


def explain(x: np.ndarray, y: np.ndarray, found: Elimination, model: RFECV) -> None:
    """Print, for each run, the first round that differs, and prove whose order of genes is the optimum's there.

    The objective is strongly convex with modulus 1: no weight at the minimum can be farther from a solution's
    than sqrt(2 x duality gap). Where two genes' weights differ by more than twice that, their order is certain.
    """
    splits = [train for train, _ in StratifiedKFold(FOLDS).split(x[:, :1], y)] + [np.arange(len(y))]
    parted, proved = 0, 0
    for run, train in enumerate(splits):
        masks = their_rounds(model, run)
        dropped = found.dropped_at[run]
        same = [np.array_equal(mask, (dropped < 0) | (dropped >= at)) for at, mask in enumerate(masks)]
        name = f"inner fold {run}" if run < FOLDS else "all samples"
        if all(same):
            print(f"{name}: the same genes in all {len(masks)} rounds")
            continue
        parted += 1
        at = same.index(False)
        alive = np.flatnonzero(masks[at - 1])
        only_ours = (dropped[alive] == at - 1) & masks[at][alive]
        only_theirs = (dropped[alive] != at - 1) & ~masks[at][alive]
        part = x[np.ix_(train, alive)].astype(np.float64)
        target = np.where(y[train] == 1, 1.0, -1.0)
        beta = solve(np.asfortranarray(part @ part.T + 1), target, C)
        weights = part.T @ beta
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            svc = LinearSVC(C=C, random_state=0).fit(part, y[train])
            tight = LinearSVC(C=C, random_state=0, **TIGHT).fit(part, y[train])
        wide = part.astype(np.longdouble)  # the gap is below what double precision resolves
        ours_p, _ = primal_and_gap(part, target, weights, float(beta.sum()), C)
        _, gap = primal_and_gap(wide, target.astype(np.longdouble), wide.T @ beta, beta.astype(np.longdouble).sum(), C)
        sk_p, _ = primal_and_gap(part, target, svc.coef_[0], float(svc.intercept_[0]), C)
        gap = max(gap, 0) + ours_p * len(train) * np.finfo(np.longdouble).eps  # and what summing may have rounded
        radius = float(np.sqrt(2 * gap))
        size = np.abs(weights)
        margin = float(size[only_theirs].min() - size[only_ours].max())
        certain = margin > 2 * radius
        proved += certain
        drop = alive.size - int(masks[at].sum())
        ours_drop = np.flatnonzero(dropped[alive] == at - 1)
        agree = np.array_equal(np.sort(np.argsort(tight.coef_[0] ** 2, kind="stable")[:drop]), ours_drop)
        print(
            f"{name}: parts in round {at} over {int(only_ours.sum())} of {drop} genes dropped ({alive.size} alive).\n"
            f"  At our solution the weights of the genes in question are {margin:.1e} apart; it is at most {radius:.1e}"
            f" from the minimum (duality gap {float(gap):.1e}), so our order of them is"
            f" {'proved right' if certain else 'not proved'}.\n"
            f"  scikit-learn's default solution is {sk_p - ours_p:.1e} above the minimum and its weights are off by up"
            f" to {np.abs(svc.coef_[0] - weights).max():.1e}; with tol={TIGHT['tol']:g} it drops"
            f" {'our' if agree else 'other'} genes."
        )
    if parted:
        print(f"{parted} of {len(splits)} runs part; in {proved} of them our order is proved to be the optimum's")


def prove(x: np.ndarray, y: np.ndarray, jobs: int, features: int) -> None:
    """Print the share on the first ``features`` genes against scikit-learn with a tight tolerance.

    Rounds with fewer genes than samples are left out, unless there is but the last: in them liblinear takes
    hours to such a tolerance.
    """
    few = np.ascontiguousarray(x[:, :features])
    least = 1 if int(STEP * few.shape[1]) >= len(x) else min(len(x), few.shape[1])
    found, _ = ours(few, y, jobs, least)
    model, seconds = theirs(few, y, jobs, least, **TIGHT)
    print(
        f"against scikit-learn with tolerance {TIGHT['tol']:g} on {few.shape[1]} genes, down to {least}: same share "
        f"{share(found, model):.4f} ({found.support.sum()} and {model.n_features_} genes), same rank of "
        f"{np.mean(found.ranking == model.ranking_):.2%} of all genes; scikit-learn took {seconds:.0f} s",
        flush=True,
    )


def main() -> None:
    """Run the comparison and print its line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=716)
    parser.add_argument("--features", type=int, default=20000)
    parser.add_argument("--ours-only", action="store_true", help="skip scikit-learn (its fields are null)")
    parser.add_argument(
        "--jobs",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="processors of ours, and of scikit-learn's second run",
    )
    parser.add_argument("--scale", choices=("z", "log"), default="z", help="z-scores, or log2 levels as published")
    parser.add_argument(
        "--proof",
        type=int,
        default=20000,
        help="genes on which scikit-learn runs again with a tight tolerance; 0: none",
    )
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    x, y = simulate(args.samples, args.features, args.seed, args.scale)
    print(f"{args.samples} samples ({y.sum()} positive) x {args.features} genes, {args.jobs} processors", flush=True)
    before = cpu_seconds()
    found, ours_s = ours(x, y, args.jobs)
    ours_cpu = cpu_seconds() - before
    print(f"ours: {ours_s:.1f} s, {ours_cpu:.1f} processor seconds", flush=True)
    result: dict[str, float | int | None] = {
        "ours_s": round(ours_s, 3),
        "sklearn_s": None,
        "same_share": None,
        "n_ours": int(found.support.sum()),
        "n_sklearn": None,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    if not args.ours_only:
        before = cpu_seconds()
        model, sklearn_s = theirs(x, y, 1)
        sklearn_cpu = cpu_seconds() - before
        print(f"scikit-learn: {sklearn_s:.1f} s, {sklearn_cpu:.1f} processor seconds", flush=True)
        _, all_jobs_s = theirs(x, y, args.jobs) if args.jobs > 1 else (model, sklearn_s)
        print(f"scikit-learn, n_jobs={args.jobs}: {all_jobs_s:.1f} s", flush=True)
        result["sklearn_s"] = round(sklearn_s, 3)
        result["sklearn_all_jobs_s"] = round(all_jobs_s, 3)
        result["same_share"] = share(found, model)
        result["n_sklearn"] = int(model.n_features_)
        explain(x, y, found, model)
        if args.proof:
            prove(x, y, args.jobs, args.proof)
        print(
            f"{sklearn_s / ours_s:.1f} times faster than scikit-learn as called, {all_jobs_s / ours_s:.1f} times than "
            f"with n_jobs={args.jobs}; {sklearn_cpu / ours_cpu:.1f} times less processor time"
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
