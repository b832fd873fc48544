"""Linear heads: they converge to what other solvers find, and their fallbacks are as documented."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression
from sksurv.datasets import load_gbsg2, load_veterans_lung_cancer
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import concordance_index_censored
from sksurv.preprocessing import OneHotEncoder

from mirror.config.evaluation import ProbeSettings, SurvivalSettings
from mirror.heads.cox import breslow, cox_loss, fit_cox
from mirror.heads.hazard_loss import nll_survival
from mirror.heads.hazards import assign_bins, fit_hazards, nll_discrete, time_bins
from mirror.heads.logistic import fit_logistic
from mirror.heads.scaling import Scaling, Standardiser
from mirror.heads.survival import TooFewEvents, fit_survival
from mirror.targets.fewshot import draw_shots

PROBE, SURVIVAL = ProbeSettings(), SurvivalSettings()


def _veterans():
    x, y = load_veterans_lung_cancer()
    return OneHotEncoder().fit_transform(x), y["Survival_in_days"], y["Status"].astype(int), y


def test_rotation_changes_nothing():
    """60 patients in 500 dimensions: the rotated fit gives the probabilities of the plain one."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 500)), rng.integers(0, 3, 60).astype(str)
    x_test = rng.normal(size=(10, 500))
    settings = ProbeSettings(C=[0.01])
    _, p = fit_logistic(x, y, x_test, settings, 0)
    z, z_test = (x - x.mean(0)) / x.std(0), (x_test - x.mean(0)) / x.std(0)
    plain = LogisticRegression(C=0.01, max_iter=5000, tol=1e-8).fit(z, y)
    assert np.allclose(p, plain.predict_proba(z_test), atol=1e-4)


def test_constant_features_and_outliers_do_no_harm():
    """A constant column is ignored, though a test patient differs there; an outlier is clipped."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 5))
    x[:, 2] = 3.0
    scaler = Standardiser.fit(x, Scaling(clip=5.0))
    z = scaler(np.array([[0.0, 0.0, 99.0, 1e6, 0.0]]))
    assert z[0, 2] == 0.0 and z[0, 3] == 5.0


def test_published_adam_recipe_learns():
    """The published recipe by option: it separates what is separable."""
    rng = np.random.default_rng(2)
    y = np.repeat(["a", "b"], 40)
    x = rng.normal(size=(80, 16)) + 3.0 * (y == "b")[:, None]
    classes, p = fit_logistic(x[::2], y[::2], x[1::2], ProbeSettings(solver="adam", epochs=30), 0)
    assert classes == ["a", "b"] and np.allclose(p.sum(1), 1)
    assert ((p[:, 1] > 0.5) == (y[1::2] == "b")).mean() > 0.95


def test_one_class_in_training():
    """The only class known is predicted; nothing crashes."""
    classes, p = fit_logistic(np.zeros((4, 2)), np.array(["a"] * 4), np.zeros((3, 2)), PROBE, 0)
    assert classes == ["a"] and (p == 1).all()


def test_cox_gradient_with_ties():
    """The analytic gradient equals finite differences."""
    rng = np.random.default_rng(3)
    eta, time, event = rng.normal(size=30), rng.integers(1, 6, 30).astype(float), rng.integers(0, 2, 30)
    numeric = approx_fprime(eta, lambda e: cox_loss(e, time, event)[0], 1e-6)
    assert np.allclose(cox_loss(eta, time, event)[1], numeric, atol=1e-4)


def test_cox_is_scikit_survivals_on_gbsg2():
    """Coefficients and baseline hazard of a ridge Cox model with Breslow ties."""
    x, y = load_gbsg2()
    x = OneHotEncoder().fit_transform(x.assign(tgrade=x["tgrade"].map(len).astype(float))).to_numpy()
    x = (x - x.mean(0)) / x.std(0)
    time, event = y["time"].astype(float), y["cens"].astype(int)
    w = fit_cox(x, time, event, C=0.1)
    theirs = CoxPHSurvivalAnalysis(alpha=10.0, ties="breslow", tol=1e-12).fit(x, y)
    assert np.allclose(w, theirs.coef_, atol=1e-4)
    at = np.array([200.0, 900.0, 2000.0])
    found = breslow(x @ w, time, event, at)
    assert np.allclose(found, theirs.cum_baseline_hazard_(at), rtol=1e-3)


def test_cox_reaches_the_documented_c_of_veterans():
    """scikit-survival's user guide reports 0.736 for a Cox model of the Veterans lung cancer data."""
    x, time, event, y = _veterans()
    z = ((x - x.mean()) / x.std()).to_numpy()
    c = concordance_index_censored(y["Status"], time, z @ fit_cox(z, time, event, C=1e6))[0]
    assert c == pytest.approx(0.7362562, abs=1e-3)


def test_discrete_hazards_are_maximum_likelihood_on_veterans():
    """Without features the hazards are events over patients at risk; with them the likelihood improves."""
    x, time, event, _ = _veterans()
    edges = time_bins(time, event, 4)
    bins = assign_bins(time, edges)
    blank = fit_hazards(np.zeros((len(x), 1)), bins, event, 4, 1.0)
    at_risk = np.array([(bins >= k).sum() for k in range(4)])
    died = np.array([((bins == k) & (event == 1)).sum() for k in range(4)])
    assert np.allclose(1 / (1 + np.exp(-blank[-1])), died / at_risk, atol=1e-4)
    z = ((x - x.mean()) / x.std()).to_numpy()
    w = fit_hazards(z, bins, event, 4, 1.0)
    n = len(x)
    assert nll_discrete(z @ w[:-1] + w[-1], bins, event) < nll_discrete(np.tile(blank[-1], (n, 1)), bins, event) - 0.1


def test_nll_by_hand():
    """Hazards of one half: an event in bin 1 costs 2 ln 2, censored in bin 1 as well, an event in bin 0 ln 2."""
    z = np.zeros((3, 4))
    bins, event = np.array([1, 1, 0]), np.array([1, 0, 1])
    assert nll_discrete(z, bins, event) == pytest.approx(5 / 3 * np.log(2))
    assert nll_discrete(z, bins, event, alpha=1.0) == pytest.approx(np.log(2))


def test_networks_and_convex_models_have_one_likelihood():
    """The likelihood in torch and in NumPy agree, also where hazards are clamped."""
    rng = np.random.default_rng(7)
    normal, bins, event = rng.normal(size=(50, 4)), rng.integers(0, 4, 50), rng.integers(0, 2, 50)
    for spread, tolerance in ((1, 1e-6), (9, 1e-4)):  # single precision knows 1 - 1e-7 to two digits
        for alpha in (0.0, 0.3):
            z = spread * normal
            theirs = nll_survival(torch.as_tensor(z), torch.as_tensor(bins), torch.as_tensor(event), alpha)
            assert nll_discrete(z, bins, event, alpha) == pytest.approx(float(theirs), rel=tolerance)


def test_every_time_bin_holds_an_event():
    """Quantiles of event times that coincide are merged; no bin is left without events."""
    rng = np.random.default_rng(4)
    for _ in range(200):
        n = int(rng.integers(2, 30))
        time, event = rng.integers(1, 6, n).astype(float), rng.integers(0, 2, n)
        edges = time_bins(time, event, 4)
        if event.any():
            assert (np.bincount(assign_bins(time[event == 1], edges), minlength=len(edges) + 1) > 0).all()
    assert len(time_bins(np.array([5.0, 5.0, 5.0]), np.ones(3), 4)) == 0


@pytest.mark.fault(
    stage="evaluation",
    fault="few events, one event time, more features than patients",
    sees="a note",
    survives="finite risks",
)
@pytest.mark.parametrize("head", ["discrete", "cox"])
@pytest.mark.parametrize("case", ["few", "collapsed", "plain", "wide"])
def test_survival_heads_are_finite_whatever_the_fold(head, case):
    """Few events, one event time, more features than patients: finite predictions and a note."""
    rng = np.random.default_rng(5)
    x, x_test = rng.normal(size=(40, 200 if case == "wide" else 4)), rng.normal(size=(7, 200 if case == "wide" else 4))
    time = np.ceil(rng.exponential(500 * np.exp(-x[:, 0])))
    event = rng.integers(0, 2, 40)
    if case == "few":
        event[:] = 0
        event[:3] = 1
    if case == "collapsed":
        time[event == 1] = 100.0
    found, notes = fit_survival(x, time, event, x_test, head, SURVIVAL, PROBE, 0)
    assert np.isfinite(found.risk).all() and np.isfinite(found.survival).all() and np.isfinite(found.threshold)
    assert found.survival.min() >= 0 and found.survival.max() <= 1
    assert (np.diff(found.survival, axis=1) <= 1e-12).all()
    expected = {"few": "3 training events", "collapsed": "collapse" if head == "discrete" else ""}.get(case)
    assert expected is None or any(expected in note for note in notes) or expected == ""


@pytest.mark.fault(
    stage="evaluation",
    fault="too few events among training patients",
    sees="how many there are",
    survives="no number is made up",
)
def test_no_events_is_said_not_computed():
    """A fold without events has no survival model."""
    with pytest.raises(TooFewEvents, match="1 training events"):
        fit_survival(np.zeros((5, 2)), np.arange(1, 6.0), np.eye(5)[0], np.zeros((1, 2)), "cox", SURVIVAL, PROBE, 0)


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
@pytest.mark.parametrize("head", ["discrete", "cox"])
def test_risk_is_larger_for_those_who_die_sooner(head, solver):
    """The sign of the risk: held-out concordance is well above one half."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(300, 3))
    time = rng.exponential(1000 * np.exp(-1.5 * x[:, 0])) + 1
    event = (rng.random(300) < 0.7).astype(int)
    probe = ProbeSettings(solver=solver, epochs=30)
    found, _ = fit_survival(x[:200], time[:200], event[:200], x[200:], head, SURVIVAL, probe, 0)
    assert concordance_index_censored(event[200:] == 1, time[200:], found.risk)[0] > 0.7


def test_shots_are_drawn_without_replacement_and_seeded():
    """k of each class, nobody twice, the same for the same seed, other patients for another draw."""
    groups = np.array(["a"] * 30 + ["b"] * 12 + ["c"] * 4)
    chosen = draw_shots(groups, 10, 42, 0, 1, 0)
    assert len(set(chosen)) == len(chosen) == 24
    assert list(np.unique(groups[chosen], return_counts=True)[1]) == [10, 10, 4]
    assert (chosen == draw_shots(groups, 10, 42, 0, 1, 0)).all()
    assert not np.array_equal(chosen, draw_shots(groups, 10, 42, 0, 1, 1))
