"""Observed risk, net benefit and calibration at a horizon."""

from __future__ import annotations

import numpy as np
import pytest
from sksurv.nonparametric import kaplan_meier_estimator

from mirror.metrics.decision import MIN_ABOVE, calibration_groups, net_benefit, observed_risk, risk_at

HORIZON = 700.0


@pytest.fixture(scope="module")
def cohort():
    """400 patients whose hazard follows one score; a third are censored."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    death, censored = rng.exponential(900 * np.exp(-x)), rng.uniform(100, 2500, 400)
    return np.minimum(death, censored), (death <= censored).astype(int), 1 / (1 + np.exp(-x))


def test_observed_risk_is_kaplan_meiers_with_ties_and_weights(cohort):
    time, event, _ = cohort
    time = np.ceil(time / 100) * 100  # many deaths and censored patients on one day
    t, s = kaplan_meier_estimator(event == 1, time)
    for horizon in (300.0, 650.0, 700.0, 1900.0):
        expected = 1 - s[t <= horizon][-1]
        assert observed_risk(time, event, horizon)[0] == pytest.approx(expected)
    counts = np.random.default_rng(1).integers(0, 3, (2, 400))
    for row, found in zip(counts, observed_risk(time, event, HORIZON, counts), strict=True):
        assert found == pytest.approx(observed_risk(np.repeat(time, row), np.repeat(event, row), HORIZON)[0])


def test_a_horizon_beyond_follow_up_has_no_observed_risk():
    time, event = np.array([10.0, 20, 30, 40]), np.array([1, 0, 1, 0])
    assert np.isnan(observed_risk(time, event, 41.0)[0])
    assert observed_risk(time, np.ones(4), 41.0)[0] == 1  # all are dead: known


def test_net_benefit_without_censoring_counts_patients(cohort):
    time, _, risk = cohort
    dead = time <= HORIZON
    for threshold, found in zip(
        (0.2, 0.6), net_benefit(time, np.ones(400), risk, HORIZON, np.array([0.2, 0.6]))[0], strict=True
    ):
        above = risk > threshold
        expected = (above & dead).mean() - (above & ~dead).mean() * threshold / (1 - threshold)
        assert found == pytest.approx(expected)


def test_net_benefit_with_censoring_is_that_of_dcurves(cohort):
    """Figures of `dcurves.dca` 1.1.7 on the same patients."""
    time, event, risk = cohort
    at = np.array([0.1, 0.2, 0.3, 0.5])
    assert net_benefit(time, event, risk, HORIZON, at)[0] == pytest.approx(
        [0.535854, 0.483482, 0.425453, 0.294825], abs=1e-6
    )
    everyone = net_benefit(time, event, np.full(400, np.inf), HORIZON, at)[0]
    assert everyone == pytest.approx([0.532977, 0.474599, 0.399542, 0.159358], abs=1e-6)


def test_net_benefit_of_few_patients_is_not_given(cohort):
    time, event, risk = cohort
    high = np.sort(risk)[-MIN_ABOVE]  # one fewer is above
    found = net_benefit(time, event, risk, HORIZON, np.array([high, 0.9999]))[0]
    assert np.isnan(found[0]) and found[1] == 0, "nobody above: nobody is treated"


def test_groups_of_right_risks_lie_on_the_diagonal_and_of_doubled_ones_below():
    rng = np.random.default_rng(4)
    n = 4000
    rate = np.exp(rng.normal(-7.5, 0.5, n))
    death, censored = rng.exponential(1 / rate), rng.uniform(200, 3000, n)
    time, event = np.minimum(death, censored), (death <= censored).astype(int)
    risk = 1 - np.exp(-rate * HORIZON)
    groups = calibration_groups(time, event, risk, HORIZON)
    assert len(groups) == 5 and sum(g.n for g in groups) == n and {g.n for g in groups} == {800}
    assert sum(g.events for g in groups) == ((event == 1) & (time <= HORIZON)).sum()
    assert all(abs(g.predicted - g.observed) < 0.06 and g.low < g.observed < g.high for g in groups)
    assert sum(g.low < g.predicted < g.high for g in groups) >= 4
    doubled = calibration_groups(time, event, np.minimum(2 * risk, 0.99), HORIZON)
    assert all(g.predicted > g.high for g in doubled)


def test_few_events_make_few_groups_and_none_an_exact_bound():
    time = np.linspace(100, 2000, 40)
    few = calibration_groups(time, (np.arange(40) < 12).astype(int), np.tile([0.1, 0.4], 20), 1500.0)
    assert len(few) == 2
    (none,) = calibration_groups(time, np.zeros(40, int), np.full(40, 0.2), 1500.0)
    assert (none.observed, none.low) == (0, 0) and none.high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_predicted_risk_is_read_off_the_curve_and_not_beyond_it():
    times = [np.array([100.0, 300.0]), np.array([100.0, 300.0]), np.array([])]
    curves = [np.array([0.9, 0.5]), np.array([0.8, 0.8]), np.array([])]
    assert risk_at(times, curves, 200.0) == pytest.approx([0.3, 0.2, np.nan], nan_ok=True)
    assert risk_at(times, curves, 50.0) == pytest.approx([0.05, 0.1, np.nan], nan_ok=True)
    assert np.isnan(risk_at(times, curves, 301.0)).all()
