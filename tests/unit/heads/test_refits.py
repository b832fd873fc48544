"""Refits on resampled training patients against fitting anew."""

from __future__ import annotations

import numpy as np
import pytest

from mirror.config.evaluation import ProbeSettings, SurvivalSettings
from mirror.heads.cox import fit_cox
from mirror.heads.logistic import LogisticHead
from mirror.heads.refits import refit_of, training_weights
from mirror.heads.survival import CoxHead, DiscreteHead, outcome

PROBE = ProbeSettings(C=[0.01])


def world(n=160, d=6):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n + 40, d))
    time = rng.exponential(1000 * np.exp(-0.7 * x[:, 0])) + 1
    event = rng.random(n + 40) < 0.6
    return x[:n], x[n:], time[:n], event[:n].astype(int), x[:, 1]


def test_a_patient_is_drawn_alike_in_every_fold_and_method():
    one = training_weights(["a", "b", "c"], 1, 50)
    assert np.array_equal(one[:, 1:], training_weights(["b", "c"], 1, 50))
    assert not np.array_equal(one, training_weights(["a", "b", "c"], 2, 50))
    many = training_weights([f"P{i}" for i in range(300)], 0, 100)
    assert many.mean() == pytest.approx(1, abs=0.02) and many.var() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_refits_follow_fits_anew(classes):
    x, x_test, *_, second = world()
    y = np.digitize(second[: len(x)], [-0.5, 0.5] if classes == 3 else [0.0]).astype(str)
    head = LogisticHead(PROBE).fit(x, y)
    v = training_weights([f"P{i}" for i in range(len(x))], 0, 12)
    base = head.predict_proba(x_test)
    moved = refit_of(head, x, y, x_test)(v)
    assert moved.shape == (12, len(x_test), classes) and np.allclose(moved.sum(2), 1)
    assert np.allclose(refit_of(head, x, y, x_test)(np.ones((1, len(x))))[0], base, atol=1e-6)
    for b in range(3):
        rows = np.repeat(np.arange(len(x)), v[b].astype(int))
        again = LogisticHead(PROBE)
        again.fit(x[rows], y[rows])  # standardises anew, which the step does not: they agree in direction
        assert np.corrcoef((moved[b] - base).ravel(), (again.predict_proba(x_test) - base).ravel())[0, 1] > 0.5


def test_cox_refits_follow_fits_anew():
    x, x_test, time, event, _ = world()
    head = CoxHead(SurvivalSettings(), PROBE).fit(x, outcome(time, event))
    v = training_weights([f"P{i}" for i in range(len(x))], 0, 12)
    moved, base = refit_of(head, x, outcome(time, event), x_test)(v), head.predict_risk(x_test)
    for b in range(3):
        rows = np.repeat(np.arange(len(x)), v[b].astype(int))
        a = head.scaler_(x)
        again = head.scaler_(x_test) @ fit_cox(a[rows], time[rows], event[rows], head.penalty_)
        assert np.corrcoef(moved[b] - base, again - base)[0, 1] > 0.9


def test_heads_that_cannot_be_refitted_say_so():
    x, x_test, time, event, second = world()
    y = (second[: len(x)] > 0).astype(str)
    adam = LogisticHead(ProbeSettings(solver="adam", epochs=1)).fit(x, y)
    assert refit_of(adam, x, y, x_test) is None
    one = LogisticHead(PROBE).fit(x, np.array(["a"] * len(x)))
    assert refit_of(one, x, np.array(["a"] * len(x)), x_test) is None
    hazards = DiscreteHead(SurvivalSettings(), PROBE).fit(x, outcome(time, event))
    same = refit_of(hazards, x, outcome(time, event), x_test)(np.ones((1, len(x))))[0]
    assert np.allclose(same, hazards.predict_risk(x_test), atol=1e-4)
