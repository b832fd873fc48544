"""Use, agreement and stability of style clusters."""

from __future__ import annotations

import numpy as np
import pytest

from mirror.metrics.style import agreement, perplexity, stability, usage


def test_perplexity_counts_the_prototypes_in_use():
    assert perplexity(usage(np.repeat(np.arange(6), 5), 10)) == pytest.approx(6)
    assert perplexity(usage(np.full(7, 3), 10)) == pytest.approx(1)
    assert perplexity(np.array([0.5, 0.25, 0.25])) == pytest.approx(2**1.5)


def test_chance_is_the_mean_over_all_pairings():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, 400), rng.choice(4, 400, p=[0.7, 0.1, 0.1, 0.1])
    drawn = np.mean([(a == rng.permutation(b)).mean() for _ in range(2000)])
    found = agreement(a, b, permutations=199)
    assert found.chance == pytest.approx(drawn, abs=0.003)
    assert found.p > 0.01
    same = agreement(a, a, permutations=199)
    assert (same.value, same.p) == (1.0, 1 / 200)


def test_a_collapsed_model_agrees_by_chance_alone():
    found = agreement(np.zeros(50, int), np.zeros(50, int), permutations=99)
    assert (found.value, found.chance, found.p) == (1.0, 1.0, 1.0)


def test_pairs_are_permuted_within_folds_only():
    """Each fold uses one prototype of its own: agreement is 1, and 1 by chance, too."""
    won, fold = np.repeat([0, 1, 2], 20), np.repeat([0, 1, 2], 20)
    assert agreement(won, won, fold, permutations=49).chance == pytest.approx(1.0)
    assert agreement(won, won, permutations=49).chance == pytest.approx(1 / 3)


def test_stability_ignores_names_and_is_zero_for_a_collapse():
    rng = np.random.default_rng(1)
    samples = [f"p{i}" for i in range(300)]
    one = dict(zip(samples, rng.integers(0, 5, 300).tolist(), strict=True))
    renamed = {s: (k + 2) % 5 for s, k in one.items()}
    other = dict(zip(samples, rng.integers(0, 5, 300).tolist(), strict=True))
    collapsed = dict.fromkeys(samples, 4)
    everyone = set(samples)
    assert stability([one, renamed], [everyone, everyone]) == pytest.approx(1)
    assert abs(stability([one, other], [everyone, everyone])) < 0.03
    assert stability([collapsed, collapsed], [everyone, everyone]) == 0
    assert np.isnan(stability([one], [everyone]))


def test_stability_looks_at_samples_that_a_model_never_saw():
    """Both folds agree on what both were trained on, and on nothing else."""
    samples = [f"p{i}" for i in range(200)]
    rng = np.random.default_rng(2)
    a = {s: i % 4 for i, s in enumerate(samples)}
    b = a | {s: int(rng.integers(0, 4)) for s in samples[:100]}
    assert abs(stability([a, b], [set(samples[:50]), set(samples[50:100])])) < 0.1
