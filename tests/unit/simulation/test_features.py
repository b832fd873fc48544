"""Simulated features: the signal they say they have, and embeddings that keep it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from mirror.config.pretrain import PretrainSettings
from mirror.config.variants import read_presets, variant_settings
from mirror.evaluation.simulated import recovery
from mirror.evaluation.simulated.recovery import Pairs
from mirror.simulation.features import FeatureSettings, draw_features, outcomes_of
from mirror.simulation.world import draw_factors

TINY = FeatureSettings(train=150, fresh=150, tiles=24, width=32, genes=200)


def as_pairs(world) -> Pairs:
    return Pairs(list(world.bags), world.expression, np.arange(len(world.factors)), world.factors)


def test_the_same_seed_draws_the_same_pairs():
    a, b, c = (draw_features(TINY, seed) for seed in (1, 1, 2))
    assert np.array_equal(a.bags, b.bags) and np.array_equal(a.expression, b.expression)
    assert all(a.outcomes[w].equals(b.outcomes[w]) for w in a.outcomes)
    assert not np.array_equal(a.bags, c.bags)


def test_expression_is_standardised_on_the_training_pairs_alone():
    world = draw_features(TINY, 3)
    fit, rest = world.expression[: world.train], world.expression[world.train :]
    np.testing.assert_allclose(fit.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(fit.std(0), 1, atol=1e-4)
    assert np.abs(rest.mean(0)).max() > 0.05


def test_each_modality_shows_its_factors_and_not_the_other_ones():
    pairs = as_pairs(draw_features(TINY, 4))
    slide, rna = recovery.input_summaries(pairs)
    seen = recovery.truth_recovery(slide, rna, pairs)
    assert min(seen.values()) > 0.75
    hidden = recovery.truth_recovery(rna, slide, pairs)  # the other modality's input
    assert max(hidden["slide_own"], hidden["rna_own"]) < 0.1 < 0.7 < hidden["slide_shared"]


def test_a_bag_shows_its_factors_through_more_than_a_shift():
    """The factors change the kinds' shares: tiles of one slide are no shifted copies of another's."""
    settings = FeatureSettings(train=2, fresh=2, tiles=4000, width=8, noise=0.0, spread=0.0, genes=100)
    bags = draw_features(settings, 5).bags
    kinds = [np.unique(bag.round(4), axis=0, return_counts=True) for bag in bags]
    assert all(len(look) == settings.kinds for look, _ in kinds)
    shares = np.stack([np.sort(count) / settings.tiles for _, count in kinds])
    assert np.ptp(shares, 0).max() > 0.02


@pytest.mark.parametrize("which", ["shared", "own", "all"])
def test_outcomes_follow_their_factors(which):
    factors = draw_factors(4000, np.random.default_rng(6))
    label = outcomes_of(factors, which, np.random.default_rng(7))["subtype"]
    names = [f"{g}_{i}" for g in ("shared", "slide", "rna") for i in range(4)]
    weight = dict(zip(names, LogisticRegression().fit(factors[names], label).coef_[0], strict=True))
    for group in ("shared", "slide", "rna"):
        follows = which == "all" or (group == "shared") == (which == "shared")
        strength = (weight[f"{group}_0"] + weight[f"{group}_1"]) / 2
        assert strength > 0.5 if follows else abs(strength) < 0.15
        assert abs(weight[f"{group}_2"]) < 0.2  # drives survival, not the label


def test_recovery_keeps_a_patient_in_one_fold():
    """Two rows of a patient share noise: a readout that saw one of them would know the other."""
    rng = np.random.default_rng(8)
    owner = np.repeat(np.arange(60), 2)
    x, y = rng.standard_normal((60, 300))[owner], rng.standard_normal((60, 1))[owner]
    assert recovery.recovered(x, y) > 0.3 > 0.1 > recovery.recovered(x, y, owner)


def test_retrieval_of_known_ranks():
    x = np.eye(12, dtype=np.float32)
    perfect = recovery.retrieval(x, x)
    assert perfect["recall_at_1"] == 1 and perfect["median_rank"] == 1
    worst = recovery.retrieval(x, -x)
    assert worst["recall_at_10"] == 0 and worst["median_rank"] == 12


@pytest.mark.slow
def test_mirror_plus_keeps_what_alignment_drops(root):
    """On fresh pairs mirror_plus knows more of each modality's own factors, and no less of the shared ones."""
    torch.set_num_threads(1)
    pairs = as_pairs(draw_features(FeatureSettings(train=300, fresh=300, tiles=32), 21))
    train, fresh = pairs.take(np.arange(300)), pairs.take(np.arange(300, 600))
    base = PretrainSettings.model_validate(
        {
            "model": {
                "embed_dim": 96, "attention": "exact", "tokens": 32,
                "style_dim": 32, "style_hidden": (96, 64), "prototypes": 100,
            },
            "train": {"epochs": 20, "batch_size": 16, "lr": 5e-4},
        }
    )  # fmt: skip
    presets = read_presets(root / "config" / "variants.yaml")
    found = {}
    for name in ("align", "mirror_plus"):
        known = recovery.embed(recovery.train_model(train, variant_settings(name, {}, base, presets), 0), fresh)
        found[name] = recovery.truth_recovery(known.slide, known.rna, fresh)
        found[name] |= recovery.retrieval(known.slide_aligned, known.rna_aligned)
    plus, align = found["mirror_plus"], found["align"]
    assert plus["slide_own"] > align["slide_own"] + 0.02
    assert plus["rna_own"] > align["rna_own"] + 0.1
    assert plus["slide_shared"] > align["slide_shared"] - 0.02
    assert plus["rna_shared"] > align["rna_shared"] - 0.02
    assert plus["recall_at_10"] > 5 * 10 / 300  # five times chance
    for k in (1, 5, 10):
        assert plus[f"recall_at_{k}"] > align[f"recall_at_{k}"] - 0.02
    assert plus["median_rank"] <= align["median_rank"] + 1  # of 300 ranks
    # Of what a linear readout of the input itself gives (0.90 and more at the benchmark's sizes).
    given = recovery.truth_recovery(*recovery.input_summaries(fresh), fresh)
    for own in ("slide_own", "rna_own"):
        assert plus[own] > 0.85 * given[own] > 0.5
