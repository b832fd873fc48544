"""Our elimination against scikit-learn's, and the solver against its optimality conditions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_selection import RFECV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from mirror.rna.rfecv import eliminate as module
from mirror.rna.rfecv.blas import add_products, factorise, solve_factored, symmetric_times
from mirror.rna.rfecv.eliminate import rfecv
from mirror.rna.rfecv.svm import _System, primal_and_gap, solve


def data(n: int, p: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, n, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    x = rng.normal(size=(n, p)) @ (np.eye(p) + 0.05 * rng.normal(size=(p, p)))
    x[:, : p // 10] += y[:, None] * 0.7
    return x.astype(np.float32), y


@settings(max_examples=30, deadline=None)
@given(n=st.integers(4, 60), p=st.integers(1, 80), c=st.sampled_from([1e-3, 1.0, 100.0]), seed=st.integers(0, 10**6))
def test_the_solver_certifies_its_optimum(n: int, p: int, c: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * rng.choice([0.1, 1, 10])
    y = np.where(rng.random(n) < 0.4, 1.0, -1.0)
    gram = np.asfortranarray(x @ x.T + 1)
    for start in (None, rng.normal(size=n)):
        beta = solve(gram, y, c, start)
        primal, gap = primal_and_gap(x, y, x.T @ beta, beta.sum(), c)
        assert abs(gap) <= 1e-9 * max(1.0, primal)


def test_the_solver_is_nearer_the_optimum_than_liblinear() -> None:
    x, y = data(80, 40, 2, 1)
    target = np.where(y == 1, 1.0, -1.0)
    beta = solve(np.asfortranarray(x.astype(float) @ x.T.astype(float) + 1), target, 1.0)
    svc = LinearSVC(random_state=0).fit(x, y)
    ours, _ = primal_and_gap(x, target, x.T @ beta, beta.sum(), 1.0)
    theirs, _ = primal_and_gap(x, target, svc.coef_[0], svc.intercept_[0], 1.0)
    assert ours <= theirs <= ours * 1.01


@pytest.mark.parametrize(
    ("n", "p", "classes", "step", "least"),
    [(90, 240, 2, 0.05, 1), (70, 33, 2, 0.1, 4), (120, 150, 3, 0.05, 1), (100, 20, 4, 0.01, 1)],
)
def test_same_genes_and_ranking_as_scikit_learn(n: int, p: int, classes: int, step: float, least: int) -> None:
    x, y = data(n, p, classes, seed=p)
    x[:, 3], x[:, 7] = 0.0, x[:, 2]  # a constant gene, and two that are equal: ties go to the earlier
    ours = rfecv(x, y, StratifiedKFold(5).split(x, y), step=step, min_features=least)
    tight = LinearSVC(random_state=0, tol=1e-9, max_iter=200_000)
    theirs = RFECV(tight, step=step, cv=5, min_features_to_select=least).fit(x, y)
    np.testing.assert_array_equal(ours.n_features[::-1], theirs.cv_results_["n_features"])
    np.testing.assert_array_equal(ours.support, theirs.support_)
    np.testing.assert_array_equal(ours.ranking, theirs.ranking_)
    np.testing.assert_array_equal(ours.scores.mean(axis=0)[::-1], theirs.cv_results_["mean_test_score"])
    squares = (theirs.estimator_.coef_.astype(np.float64) ** 2).sum(axis=0)
    np.testing.assert_allclose(ours.importance[ours.support], squares, rtol=1e-3, atol=1e-9)


def test_centring_is_the_pipeline_that_centres_in_each_fold() -> None:
    x, y = data(90, 200, 3, 5)
    x += np.random.default_rng(0).normal(0, 4, x.shape[1]).astype(np.float32)
    ours = rfecv(x, y, StratifiedKFold(5).split(x, y), center=True)
    tight = LinearSVC(random_state=0, tol=1e-9, max_iter=200_000)
    pipeline = make_pipeline(StandardScaler(with_std=False), tight)
    theirs = RFECV(pipeline, step=0.05, cv=5, importance_getter="named_steps.linearsvc.coef_").fit(x.astype(float), y)
    np.testing.assert_array_equal(ours.support, theirs.support_)
    np.testing.assert_array_equal(ours.ranking, theirs.ranking_)


def test_standardising_everyone_together_misleads_uncentred_folds_only() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(150) < 0.2).astype(int)
    x = rng.normal(size=(150, 3000))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    splits = list(StratifiedKFold(5).split(x, y))
    uncentred = rfecv(x, y, splits).scores.mean(axis=0)[0]
    centred = rfecv(x, y, splits, center=True).scores.mean(axis=0)[0]
    assert uncentred < 0.5  # worse than a coin, though the labels are random
    assert centred > 0.6


def test_threads_change_no_bit() -> None:
    x, y = data(60, 700, 2, 3)
    one, two = (rfecv(x, y, StratifiedKFold(3).split(x, y), jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one.dropped_at, two.dropped_at)
    np.testing.assert_array_equal(one.importance, two.importance)


def test_unusable_input_is_refused() -> None:
    x, y = data(20, 30, 2, 0)
    splits = list(StratifiedKFold(3).split(x, y))
    with pytest.raises(ValueError, match="one class"):
        rfecv(x, np.zeros(20), splits)
    x[3, 4] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        rfecv(x, y, splits)


def test_features_kept_narrow_change_no_gene(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large data stay in float32 and are widened block by block; the products are the same."""
    x, y = data(60, 90, 3, 5)
    wide = rfecv(x, y, StratifiedKFold(5).split(x, y))
    monkeypatch.setattr(module, "WIDE_BYTES", 0)
    narrow = rfecv(x, y, StratifiedKFold(5).split(x, y))
    for name in ("support", "ranking", "importance", "scores", "dropped_at"):
        np.testing.assert_array_equal(getattr(wide, name), getattr(narrow, name))


@settings(max_examples=30, deadline=None)
@given(n=st.integers(20, 50), changes=st.integers(0, 12), seed=st.integers(0, 10**6))
def test_an_updated_system_is_the_system_made_anew(n: int, changes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 30))
    gram, y = np.asfortranarray(x @ x.T + 1), np.sign(rng.normal(size=n))
    first = rng.random(n) < 0.8
    first[:10] = True
    second = first.copy()
    flipped = rng.choice(n, changes, replace=False)
    second[flipped] = ~second[flipped]
    second[0] = True
    system = _System(np.asfortranarray(np.tril(gram)), y, 0.7)  # the lower triangle is all that it has
    system.stationary(first)
    at = np.flatnonzero(second)
    wanted = np.zeros(n)
    wanted[at] = np.linalg.solve(gram[np.ix_(at, at)] + np.eye(at.size) / 1.4, y[at])
    np.testing.assert_allclose(system.stationary(second), wanted, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(system._updated(second), wanted, rtol=1e-8, atol=1e-9)


def test_blas_reads_slices_and_lower_triangles_and_refuses_what_it_cannot_read() -> None:
    rng = np.random.default_rng(0)
    columns = np.asfortranarray(rng.normal(size=(9, 4)))
    rows = [0, 1, 4, 5, 6, 8]
    gram = np.ones((6, 6), order="F")
    add_products(gram, columns, [slice(0, 2), slice(4, 7), slice(8, 9)], -1.0)
    lower = np.tril_indices(6)
    np.testing.assert_allclose(gram[lower], (1 - columns[rows] @ columns[rows].T)[lower])
    assert (gram[np.triu_indices(6, 1)] == 1).all()
    whole = columns @ columns.T + np.eye(9)
    np.testing.assert_allclose(
        symmetric_times(np.asfortranarray(np.tril(whole)), columns[:, 0], 2.0), 2 * whole @ columns[:, 0]
    )
    right = rng.normal(size=(9, 3))
    np.testing.assert_allclose(
        solve_factored(factorise(np.asfortranarray(whole)), right), np.linalg.solve(whole, right)
    )
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        factorise(np.asfortranarray(-np.eye(3)))
    with pytest.raises(ValueError, match="Fortran order"):
        factorise(np.ones((3, 3)))
    with pytest.raises(ValueError, match="do not fit"):
        add_products(np.ones((5, 5), order="F"), columns, [slice(0, 10)], 1.0)
