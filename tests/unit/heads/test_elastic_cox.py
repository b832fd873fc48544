"""The elastic-net Cox baseline: averaging, weak penalties that diverge, few events."""

from __future__ import annotations

import numpy as np
import pytest
from sksurv.metrics import concordance_index_censored

from mirror.config.evaluation import ProbeSettings
from mirror.heads import elastic_cox as cox
from mirror.heads.scaling import Scaling
from mirror.heads.survival import TooFewEvents, outcome


def fit(x, time, event, x_test, seed=0):
    """Predictions of test patients."""
    net = cox.ElasticCoxHead(probe=ProbeSettings(inner_folds=3), seed=seed, scaling=Scaling(5.0))
    return net.fit(x, outcome(time, event)).prediction(x_test)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Two draws of the inner folds are enough here."""
    monkeypatch.setattr(cox, "REPEATS", 2)


def simulate(n: int = 240, genes: int = 60, effect: float = 0.25, seed: int = 0):
    """Genes that share factors, hazards that follow all of them a little, half of the patients censored."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, 4))
    x = factors @ rng.normal(size=(4, genes)) + rng.normal(size=(n, genes))
    time = rng.exponential(np.exp(-effect * factors.sum(axis=1))) * 1000
    stop = rng.exponential(size=n) * 1000
    return x, np.minimum(time, stop), (time <= stop).astype(int)


def test_finds_the_signal_and_gives_curves():
    """Held-out ranking well above chance; survival falls in time and with risk."""
    x, time, event = simulate(effect=0.6)
    found = fit(x[:160], time[:160], event[:160], x[160:])
    assert concordance_index_censored(event[160:] == 1, time[160:], found.risk)[0] > 0.7
    assert (np.diff(found.survival, axis=1) <= 1e-12).all() and found.survival.shape == (80, len(found.times))
    order = np.argsort(found.risk)
    assert found.survival[order[0], -1] > found.survival[order[-1], -1]


def test_without_signal_no_gene_rules():
    """Where nothing can be told, many genes share the ranking and the curves hardly differ between patients."""
    x, time, event = simulate(effect=0.0)
    found = fit(x, time, event, np.vstack([np.zeros(60), np.eye(60)]))
    share = np.abs(found.risk[1:] - found.risk[0])
    assert share.max() < 0.3 * share.sum()
    patients = fit(x, time, event, x)
    assert patients.survival[:, -1].std() < 0.1


def test_the_draw_of_inner_folds_matters_little():
    """Averaging over penalties and repeats: other seeds give the same ranking but for neighbours."""
    x, time, event = simulate(effect=0.15)
    risks = [fit(x[:160], time[:160], event[:160], x[160:], seed).risk for seed in (1, 100)]
    assert np.corrcoef(*risks)[0, 1] > 0.98


def test_a_penalty_that_diverges_is_left_out(monkeypatch):
    """Descent that fails at the weak end costs that end alone, not the whole path."""
    real = cox.CoxnetSurvivalAnalysis

    class Fragile(real):
        def fit(self, x, y):
            if min(self.alphas) < 0.2:
                raise ArithmeticError("weights are too large")
            return super().fit(x, y)

    monkeypatch.setattr(cox, "CoxnetSurvivalAnalysis", Fragile)
    x, time, event = simulate(effect=0.6)
    alphas = np.array([1.0, 0.5, 0.25, 0.1])
    w = cox._path(x, time, event, 0.01, alphas)
    assert np.isfinite(w[:, :3]).all() and np.isnan(w[:, 3]).all()
    weights = cox.average_weights(np.array([3.0, 2.0, np.nan, 0.0]), w)
    assert weights[2:].tolist() == [0, 0] and weights[1] == pytest.approx(1 / (1 + np.exp(-1)))
    found = fit(x[:160], time[:160], event[:160], x[160:])
    assert concordance_index_censored(event[160:] == 1, time[160:], found.risk)[0] > 0.7


def test_few_events():
    """Under min_events penalties count the same; under two events there is no model."""
    x, time, event = simulate(n=60)
    event[np.flatnonzero(event)[5:]] = 0
    assert np.isfinite(fit(x, time, event, x).risk).all()
    with pytest.raises(TooFewEvents):
        fit(x, time, np.zeros(60, int), x)
