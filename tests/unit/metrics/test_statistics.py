"""Statistics against definitions, hand computations and simulations with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from mirror.metrics.classification import auroc
from mirror.metrics.statistics import (
    bootstrap_weights,
    corrected_resampled_t,
    delong,
    delong_variance,
    holm,
    paired_bootstrap,
    percentile_interval,
)


def test_holm_by_hand():
    """p = .01, .04, .03, .005 of four tests: the textbook's .03, .06, .06, .02."""
    assert np.allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    assert np.allclose(holm(np.array([0.5, 0.9])), [1.0, 1.0])


def test_corrected_resampled_t_by_hand():
    """Ten-times-repeated formula of Nadeau and Bengio on five differences."""
    d = np.array([0.02, 0.05, -0.01, 0.03, 0.06])
    # mean 0.03; variance sum of squared deviations / 4 = (.0001 + .0004 + .0016 + 0 + .0009) / 4 = .00075
    # standard error sqrt((1/5 + 1/4) * .00075) = sqrt(.0003375) = .0183712
    found = corrected_resampled_t(d, 0.25)
    assert found.value == pytest.approx(0.03)
    assert found.p == pytest.approx(2 * stats.t.sf(0.03 / 0.0183712, 4), rel=1e-4)
    assert found.p > stats.ttest_1samp(d, 0).pvalue  # folds share training patients: the plain test is too sure
    assert corrected_resampled_t(d[:1], 0.25) is None
    assert corrected_resampled_t(np.zeros(5), 0.25).p == 1.0


def _delong_by_definition(truth, a, b):
    x, y = np.flatnonzero(truth), np.flatnonzero(~truth)
    psi = [np.array([[(s[i] > s[j]) + 0.5 * (s[i] == s[j]) for j in y] for i in x], dtype=float) for s in (a, b)]
    v10, v01 = np.array([k.mean(1) for k in psi]), np.array([k.mean(0) for k in psi])
    s = np.cov(v10) / len(x) + np.cov(v01) / len(y)
    gap = psi[0].mean() - psi[1].mean()
    return gap, s[0, 0] + s[1, 1] - 2 * s[0, 1]


def test_delong_is_its_definition():
    """Placements by midranks equal the double sum of the paper, with ties."""
    rng = np.random.default_rng(3)
    truth = rng.random(50) < 0.4
    a, b = (truth + rng.normal(size=50)).round(1), (0.5 * truth + rng.normal(size=50)).round(1)
    gap, variance = _delong_by_definition(truth, a, b)
    found = delong(truth, a, b)
    assert found.value == pytest.approx(gap) == pytest.approx(roc_auc_score(truth, a) - roc_auc_score(truth, b))
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(gap) / np.sqrt(variance)))
    assert delong(truth, a, a).p == 1.0


def test_delong_by_hand():
    """Three against two: the components can be counted on fingers.

    Positives 3, 2, 4; negatives 1, 2.5. Wins: 3 -> 2 of 2, 2 -> 1 of 2, 4 -> 2 of 2: area 5/6.
    V10 = (1, .5, 1), variance 1/12; V01 = (1, 2/3), variance 1/18. Variance 1/36 + 1/36 = 1/18.
    """
    area, variance = delong_variance(np.array([1, 1, 1, 0, 0], dtype=bool), np.array([3, 2, 4, 1, 2.5]))
    assert area == pytest.approx(5 / 6)
    assert variance == pytest.approx(1 / 18)


def test_delong_keeps_its_level():
    """Two equally good scores: about 5 % of tests find a difference."""
    rng = np.random.default_rng(0)
    p = []
    for _ in range(400):
        truth = np.arange(80) < 40
        p.append(delong(truth, truth + rng.normal(size=80), truth + rng.normal(size=80)).p)
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_bootstrap_covers_a_known_area():
    """Normal scores one unit apart: the area is 0.760; about 95 % of intervals hold it."""
    rng = np.random.default_rng(1)
    area, held = stats.norm.cdf(1 / np.sqrt(2)), []
    for trial in range(200):
        truth = np.arange(100) < 50
        values = auroc(truth, truth + rng.normal(size=100), bootstrap_weights(100, 300, trial))
        interval = percentile_interval(values, 0.95)
        held.append(interval.low <= area <= interval.high)
    assert 0.90 < np.mean(held) <= 0.985


def test_paired_bootstrap_keeps_its_level_and_has_power():
    """No difference: about 5 % of p values under 0.05; a large difference: nearly all."""
    rng = np.random.default_rng(2)
    p = {0.0: [], 0.8: []}
    for trial in range(150):
        truth, w = np.arange(100) < 50, bootstrap_weights(100, 200, trial)
        worse = auroc(truth, 0.7 * truth + rng.normal(size=100), w)
        for extra, found in p.items():
            found.append(paired_bootstrap(auroc(truth, (0.7 + extra) * truth + rng.normal(size=100), w), worse, 0.95).p)
    assert 0.01 < np.mean(np.array(p[0.0]) < 0.05) < 0.10
    assert np.mean(np.array(p[0.8]) < 0.05) > 0.7


def test_paired_bootstrap_of_a_method_with_itself():
    """No difference at all: p = 1, not 0 / 0."""
    values = np.random.default_rng(0).random(101)
    assert paired_bootstrap(values, values, 0.95).p == 1.0


def test_undefined_resamples_do_not_poison_an_interval():
    """NaN resamples are left out; with most undefined, the interval is empty."""
    values = np.r_[0.5, np.linspace(0, 1, 90), np.full(10, np.nan)]
    interval = percentile_interval(values, 0.9)
    assert interval.usable == 90 and interval.low == pytest.approx(0.05, abs=0.01)
    assert np.isnan(percentile_interval(np.r_[0.5, 0.4, np.full(99, np.nan)], 0.9).low)


def test_bootstrap_weights_are_seeded_counts():
    """Each resample draws n patients; the first row is everybody once."""
    w = bootstrap_weights(30, 50, 4)
    assert (w.sum(axis=1) == 30).all() and (w[0] == 1).all()
    assert (w == bootstrap_weights(30, 50, 4)).all() and not (w == bootstrap_weights(30, 50, 5)).all()
