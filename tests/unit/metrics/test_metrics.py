"""Metrics against scikit-learn and scikit-survival, plain and weighted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from sksurv.compare import compare_survival
from sksurv.datasets import load_gbsg2, load_veterans_lung_cancer
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import (
    concordance_index_censored,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
    integrated_brier_score,
)
from sksurv.preprocessing import OneHotEncoder
from sksurv.util import Surv

from mirror.metrics.classification import align_classes, auroc, average_precision, metrics_of_models, subtyping_metrics
from mirror.metrics.retrieval import retrieval_metrics
from mirror.metrics.survival import Censoring, FoldRisks, brier_by_patient, logrank_p, survival_metrics


def _ones(n: int) -> np.ndarray:
    return np.ones((1, n))


@pytest.mark.parametrize("classes", [2, 3])
def test_subtyping_metrics_are_scikit_learns(classes):
    """Every metric of a plain sample equals scikit-learn's."""
    rng = np.random.default_rng(classes)
    truth = rng.integers(classes, size=120)
    p = rng.dirichlet(np.ones(classes), size=120).round(2) + 0.3 * np.eye(classes)[truth]
    p /= p.sum(axis=1, keepdims=True)
    guess = p.argmax(axis=1)
    found = {name: values[0] for name, values in subtyping_metrics(truth, p, _ones(120)).items()}
    each = range(classes)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, guess))
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, guess))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(truth, guess, average="macro"))
    assert found["kappa"] == pytest.approx(reference.cohen_kappa_score(truth, guess))
    assert found["auroc"] == pytest.approx(np.mean([reference.roc_auc_score(truth == k, p[:, k]) for k in each]))
    area = np.mean([reference.average_precision_score(truth == k, p[:, k]) for k in each])
    assert found["auprc"] == pytest.approx(area)
    scored = p[:, 1] if classes == 2 else p
    assert found["brier"] == pytest.approx(reference.brier_score_loss(truth, scored, labels=list(each)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_weights_are_repeated_patients(seed):
    """A weight of 2 is the patient twice, 0 is the patient left out; ties included."""
    rng = np.random.default_rng(seed)
    n = 25
    truth, p = rng.integers(3, size=n), rng.dirichlet(np.ones(3), size=n).round(1) + 1e-3
    p /= p.sum(axis=1, keepdims=True)
    w = rng.integers(0, 3, size=n)
    w[:3], truth[:3] = 1, [0, 1, 2]
    often = np.repeat(np.arange(n), w)
    weighted = subtyping_metrics(truth, p, w[None].astype(float))
    repeated = subtyping_metrics(truth[often], p[often], _ones(len(often)))
    for name, values in weighted.items():
        assert values[0] == pytest.approx(repeated[name][0], abs=1e-12), name
    rank = rng.integers(1, 9, size=n).astype(float)
    weighted = retrieval_metrics(rank, w[None].astype(float))
    assert weighted["median_rank"][0] == np.median(rank[often])
    assert weighted["recall_at_5"][0] == pytest.approx((rank[often] <= 5).mean())


def test_areas_with_ties():
    """Ties count one half in ROC, and share a threshold in precision-recall."""
    score = np.array([0.1, 0.5, 0.5, 0.5, 0.9, 0.9])
    truth = np.array([0, 0, 1, 1, 0, 1], dtype=bool)
    assert auroc(truth, score, _ones(6))[0] == pytest.approx(reference.roc_auc_score(truth, score))
    precision = average_precision(truth, score, _ones(6))[0]
    assert precision == pytest.approx(reference.average_precision_score(truth, score))


@pytest.mark.fault(
    stage="evaluation",
    fault="one class among test patients",
    sees="no value for what is undefined",
    survives="the other metrics",
)
def test_one_class_gives_no_area():
    """What a fold with one class cannot define is NaN here, and left out by the tables."""
    found = subtyping_metrics(np.zeros(5, dtype=int), np.tile([0.8, 0.2], (5, 1)), _ones(5))
    assert found["accuracy"][0] == 1.0 and np.isnan(found["auroc"][0]) and np.isnan(found["kappa"][0])


def test_classes_of_different_folds_are_aligned():
    """A class that one fold's model did not know has probability 0 there."""
    codes, p, names = align_classes(np.array(["B", "C"]), [["A", "B"], ["B", "C"]], [[0.4, 0.6], [0.3, 0.7]])
    assert names == ["A", "B", "C"] and list(codes) == [1, 2]
    assert np.allclose(p, [[0.4, 0.6, 0], [0, 0.3, 0.7]])


def _gbsg2():
    x, y = load_gbsg2()
    x = x.assign(tgrade=x["tgrade"].map(len).astype(float))
    return OneHotEncoder().fit_transform(x), y


def _fold(y_train, y, risk, times=None, curves=None) -> FoldRisks:
    event, time = y.dtype.names
    n = len(y)
    return FoldRisks(
        np.arange(n),
        y[time].astype(float),
        y[event].astype(int),
        np.asarray(risk, dtype=float),
        np.empty(0) if times is None else times,
        np.empty((n, 0)) if curves is None else curves,
        Censoring.fit(y_train[time].astype(float), y_train[event].astype(int)),
    )


def test_survival_metrics_are_scikit_survivals_on_gbsg2():
    """Harrell's C, Uno's C and the time-dependent area on held-out German breast cancer patients."""
    x, y = _gbsg2()
    train, test = np.arange(0, 686, 2), np.arange(1, 686, 2)
    risk = CoxPHSurvivalAnalysis(alpha=1e-2).fit(x.iloc[train], y[train]).predict(x.iloc[test]).round(1)
    fold = _fold(y[train], y[test], risk)
    horizons = [365.25, 1095.75, 1826.25]
    found, left_out = survival_metrics([fold], _ones(len(test)), horizons)
    assert found["c_index"][0] == pytest.approx(concordance_index_censored(y[test]["cens"], y[test]["time"], risk)[0])
    uno = concordance_index_ipcw(y[train], y[test], risk, tau=fold.censoring.limit)[0]
    assert found["c_index_uno"][0] == pytest.approx(uno)
    areas, _ = cumulative_dynamic_auc(y[train], y[test], risk, horizons)
    for horizon, area in zip(horizons, areas, strict=True):
        assert found[f"auc_{horizon:.0f}d"][0] == pytest.approx(area)
    assert found["auc_mean"][0] == pytest.approx(areas.mean())
    assert set(left_out) == {"ibs"}


def test_integrated_brier_score_is_the_documented_one():
    """scikit-survival documents 0.1816 for a Cox model of the whole GBSG2 data set."""
    x, y = load_gbsg2()
    x = x.assign(tgrade=x["tgrade"].map(len).astype(int))
    x = OneHotEncoder().fit_transform(x)
    model = CoxPHSurvivalAnalysis(ties="efron").fit(x, y)
    at = np.arange(365, 1826).astype(float)
    curves = model.predict_survival_function(x, return_array=True)
    values = curves[:, np.searchsorted(model.unique_times_, at, side="right") - 1]
    found = brier_by_patient(_fold(y, y, np.zeros(len(y)), at, values), at).mean()
    assert found == pytest.approx(integrated_brier_score(y, y, values, at), rel=1e-6)
    assert round(found, 4) == 0.1816


def test_tied_times_and_risks_follow_scikit_survival():
    """An event comes before a censoring of the same day; tied risks count one half."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        time, event = rng.integers(1, 8, size=40).astype(float), rng.integers(0, 2, size=40)
        risk = rng.integers(0, 4, size=40).astype(float)
        y = Surv.from_arrays(event == 1, time)
        found, _ = survival_metrics([_fold(y, y, risk)], _ones(40), [])
        assert found["c_index"][0] == pytest.approx(concordance_index_censored(event == 1, time, risk)[0])


def test_pairs_stay_within_folds():
    """Shifting all risks of one fold changes nothing: models of two folds have no common scale."""
    rng = np.random.default_rng(0)
    y = Surv.from_arrays(rng.integers(0, 2, 30) == 1, rng.exponential(100, 30))
    risk = rng.normal(size=30)
    a, b = _fold(y, y[:15], risk[:15]), _fold(y, y[15:], risk[15:])
    b = FoldRisks(b.columns + 15, *list(vars(b).values())[1:])
    shifted = FoldRisks(b.columns, b.time, b.event, b.risk + 100, *list(vars(b).values())[4:])
    plain, _ = survival_metrics([a, b], _ones(30), [50.0])
    moved, _ = survival_metrics([a, shifted], _ones(30), [50.0])
    assert plain["c_index"][0] == moved["c_index"][0] and plain["auc_50d"][0] == moved["auc_50d"][0]


def test_horizon_beyond_follow_up_is_left_out_with_a_reason():
    """No NaN: the metric is missing and says why."""
    y = Surv.from_arrays(np.array([True] * 8 + [False] * 4), np.arange(1, 13) * 10.0)
    found, left_out = survival_metrics([_fold(y, y, np.arange(12.0))], _ones(12), [50.0, 5000.0])
    assert "auc_50d" in found and "auc_5000d" not in found
    assert "horizon" in left_out["auc_5000d"] and found["auc_mean"][0] == found["auc_50d"][0]


def test_logrank_is_scikit_survivals_and_refuses_one_group():
    """Veterans data: the log-rank p of the two treatments."""
    x, y = load_veterans_lung_cancer()
    group = (x["Treatment"] == "test").to_numpy()
    time, event = y["Survival_in_days"], y["Status"].astype(int)
    assert logrank_p(time, event, group) == pytest.approx(compare_survival(y, group)[1])
    assert logrank_p(time, event, group) == pytest.approx(0.928, abs=1e-3)  # survdiff of the same data: p = 0.9
    assert logrank_p(time, event, np.ones(len(x))) is None


@pytest.mark.parametrize("classes", [2, 3])
def test_metrics_of_many_models_are_those_of_each(classes):
    """The vectorised form of the refits agrees with the metrics themselves, fold by fold."""
    rng = np.random.default_rng(7)
    truth, fold = rng.integers(0, classes, 60), np.arange(60) % 3
    p = rng.dirichlet(np.ones(classes), (5, 60))
    found = metrics_of_models(truth, p, fold)
    for b in range(5):
        one = subtyping_metrics(truth, p[b], np.ones((1, 60)), fold)
        for name, values in found.items():
            assert values[b] == pytest.approx(one[name][0]), name


def test_calibration_error_of_perfect_probabilities_is_small():
    """Outcomes drawn from the probabilities themselves: without the correction ten bins of ten read 0.1 or more."""
    rng = np.random.default_rng(8)
    values = []
    for _ in range(40):
        q = rng.uniform(0.5, 1, 100)
        truth = (rng.random(100) < q).astype(int)
        values.append(subtyping_metrics(truth, np.c_[1 - q, q], np.ones((1, 100)))["ece"][0])
    assert np.mean(values) < 0.07
