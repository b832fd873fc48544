"""Style clusters with balanced assignments, the linear skip, and robust scaling of the input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata

from mirror.config.pretrain import PretrainSettings, StyleSettings
from mirror.model.attention import value_convolution
from mirror.model.input_scaling import CLIP, InputScaling, Sample
from mirror.model.input_statistics import fit_input
from mirror.model.losses import balanced_loss, cluster_loss, compute_losses
from mirror.model.masking import hide_features
from mirror.model.mirror import build_model
from mirror.model.noise import Draws
from mirror.model.style import RNA, SLIDE, Style, balanced_assignments

SIZES = {"embed_dim": 24, "slide_heads": 4, "rna_heads": 4, "attention": "exact", "tokens": 6, "prototypes": 5}
SIZES |= {"style_dim": 3, "style_hidden": (12, 6)}
BALANCED = {"cluster": "consensus", "queue": 10}
WIDTH, GENES = 7, 11


def make(style=None, **model):
    torch.manual_seed(0)
    return build_model(PretrainSettings.model_validate({"model": SIZES | model, "style": style or {}}), GENES, WIDTH)


def batch(b=4, n=6, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(b, n, WIDTH, generator=generator), torch.randn(b, GENES, generator=generator)


def of(scores):
    empty = torch.zeros(len(scores), 1)
    return Style(empty, empty, empty, empty, scores)


def test_assignments_are_balanced_and_follow_the_scores():
    scores = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    q = balanced_assignments(scores, epsilon=0.5, rounds=50)
    assert torch.allclose(q.sum(1), torch.ones(40))
    assert torch.allclose(q.sum(0), torch.full((5,), 8.0), atol=1e-3)
    # A prototype that every sample prefers is not given to every sample.
    tilted = balanced_assignments(scores + torch.tensor([5.0, 0, 0, 0, 0]), epsilon=0.5, rounds=50)
    assert torch.allclose(tilted, q, atol=1e-4)


@pytest.mark.parametrize("kind", ["swapped", "consensus"])
def test_equal_scores_are_the_published_optimum_and_no_optimum_here(kind):
    settings = StyleSettings(cluster=kind, temperature=0.1, epsilon=0.05)
    flat = torch.zeros(20, 5)
    sharp = 10 * torch.eye(5).repeat(4, 1)
    assert cluster_loss(flat, flat) == 0
    assert balanced_loss(of(flat), of(flat), settings) == pytest.approx(np.log(5), abs=1e-4)
    assert balanced_loss(of(sharp), of(sharp), settings) < 0.01
    # All on one prototype is as bad as knowing nothing.
    one = torch.zeros(20, 5)
    one[:, 0] = 10
    assert balanced_loss(of(one), of(one), settings) > np.log(5)


def test_each_modality_is_told_by_the_other():
    settings = StyleSettings(cluster="swapped")
    slide, rna = (torch.randn(8, 5, generator=torch.Generator().manual_seed(i), requires_grad=True) for i in (0, 1))
    balanced_loss(of(slide), of(rna), settings).backward()
    target = balanced_assignments(rna.detach() * settings.temperature, settings.epsilon)
    assert torch.allclose(slide.grad, 0.5 * (slide.softmax(-1) - target).detach() / 8, atol=1e-6)


def test_the_queue_holds_pairs_only_and_only_in_training():
    model = make(BALANCED)
    bags, rna = batch()
    model.eval()(bags, rna)
    assert model.style.filled.tolist() == [0, 0]
    model.train()(bags)
    model(None, rna)
    assert model.style.filled.tolist() == [0, 0]
    first = model(bags, rna)
    assert len(first.slide_style.queued) == 0
    second = model(*batch(seed=4))
    assert model.style.filled.tolist() == [8, 8]
    expected = model.style.score(first.rna_style.decoded)
    assert torch.allclose(second.rna_style.queued, expected, atol=1e-5)
    for _ in range(3):
        model(bags, rna)
    assert model.style.filled.tolist() == [10, 10]
    compute_losses(model(bags, rna), model.settings)["total"].backward()
    model.style.forget()
    assert not model.style.queue.any()


def test_published_style_is_untouched_by_the_new_settings():
    model = make()
    assert "style.queue" not in model.state_dict()
    assert not [name for name in model.state_dict() if "skip" in name or "input_scaling" in name]
    bags, rna = batch()
    output = model.train()(bags, rna)
    assert output.slide_style.queued is None
    assert torch.equal(output.slide_style.scores, model.style.prototypes(output.slide_style.decoded))


def test_style_can_read_the_shared_space():
    model = make(BALANCED | {"read_from": "alignment"}).eval()
    bags, _ = batch()
    embedding = model.encode_slide(bags)
    zero = torch.zeros(1)
    expected = model.style(model.align_slide(embedding), zero).scores
    assert torch.equal(model.slide_style(embedding, zero).scores, expected)
    tiles = model.tile_prototypes(bags[0])
    assert tiles.shape == (6, 5)
    assert tiles.abs().max() <= 1 / model.settings.style.temperature + 1e-4


def test_samples_that_differ_little_still_differ_in_their_scores():
    """Without standardised latents the decoder's bias is all that their cosines see."""
    model = make(BALANCED).train()
    bags, rna = batch(b=64)
    output = model(bags, rna)
    for style in (output.slide_style, output.rna_style):
        won = style.scores.argmax(1)
        assert len(won.unique()) > 1
        plain = model.style.score(model.style.decoder(style.mu) + 0.3)
        assert style.scores.std(0).mean() > 3 * plain.std(0).mean()
    # Far apart as a whole, the modalities are standardised each by its own statistics.
    with torch.no_grad():
        shifted = model.style(output.rna_embedding + 5, torch.zeros(1), RNA).scores
    assert torch.unique(shifted.argmax(1)).numel() > 1


def test_evaluation_uses_the_running_statistics_of_a_modality():
    model = make(BALANCED).train()
    for seed in range(40):
        model(*batch(b=16, seed=seed))
    model.eval()
    _, rna = batch(b=16, seed=99)
    zero = torch.zeros(1)
    embedding = model.encode_rna(rna)
    together = model.rna_style(embedding, zero).scores
    alone = torch.cat([model.rna_style(row[None], zero).scores for row in embedding])
    assert torch.allclose(together, alone, atol=1e-5)  # no sample depends on the others
    assert not torch.allclose(together, model.style(embedding, zero, SLIDE).scores)
    before = model.style.scales[RNA].running_mean.clone()
    model.train()
    model(None, rna[:1])  # one row has no variance
    assert torch.equal(model.style.scales[RNA].running_mean, before)


def test_small_batches_are_standardised_by_what_was_seen_before():
    style = make(BALANCED).style.train()
    x = 3 * torch.randn(800, 24, generator=torch.Generator().manual_seed(0)) + 1
    zero, total = torch.zeros(1), 0.0
    for rows in x.split(4):
        total = total + style(rows, zero, RNA).scores.square().mean()
    total.backward()  # the buffers moved on since, the graph did not
    assert torch.isfinite(style.mu.weight.grad).all()
    mu = style(x, zero, SLIDE).mu
    unit = (mu - style.scales[RNA].running_mean) / style.scales[RNA].running_var.sqrt()
    assert unit.mean(0).abs().max() < 0.5
    assert unit.std(0).min() > 0.6
    assert unit.std(0).max() < 1.6


def test_features_are_hidden_of_bags_of_one_patch_and_only_in_training():
    settings = {"retention": {"slide_feature_mask": 0.5, "decode_from": "embedding", "target": "input"}}
    torch.manual_seed(0)
    model = build_model(PretrainSettings.model_validate({"model": SIZES} | settings), GENES, WIDTH)
    patches, _ = batch()
    bags = patches[:, :1].expand_as(patches).contiguous()
    noise = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4]).expand(4, 1, WIDTH)
    shown = hide_features(bags, None, 0.5, noise)
    assert torch.equal(hide_features(patches, None, 0.5, noise), patches), "different patches"
    padded, mask = bags.clone(), torch.ones(bags.shape[:2], dtype=torch.bool)
    padded[:, -1], mask[:, -1] = 0.0, False
    assert torch.equal(hide_features(padded, mask, 0.5, noise)[:, :-1], shown[:, :-1])
    assert not shown[..., ::2].any()
    assert torch.allclose(shown[..., 1::2], 2 * bags[..., 1::2])
    other = bags.clone()
    other[..., ::2] += 100.0
    draws = Draws(slide_features=noise, slide_style=torch.zeros(4, 3), slide_input=torch.rand(4, 6))
    torch.manual_seed(1)
    one = model.train()(bags, None, draws)
    torch.manual_seed(1)
    two = model(other, None, draws)
    assert torch.equal(one.slide_embedding, two.slide_embedding)
    assert not torch.equal(one.slide_retention.target, two.slide_retention.target)  # the whole is rebuilt
    plain = model.eval()(bags, None, draws).slide_embedding
    assert not torch.equal(plain, model(other, None, draws).slide_embedding), "nothing is hidden outside training"
    with pytest.raises(ValueError, match="slide_feature_mask"):
        PretrainSettings.model_validate({"retention": {"slide_feature_mask": 0.5, "target": "input"}})


def test_linear_skip_adds_a_linear_map_of_the_input():
    model, plain = make(linear_skip=True).eval(), make().eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if "skip" not in k})
    bags, rna = batch()
    assert torch.allclose(
        model.encode_slide(bags) - plain.encode_slide(bags), model.slide_encoder.skip(bags.mean(1)), atol=1e-5
    )
    assert torch.allclose(model.encode_rna(rna) - plain.encode_rna(rna), model.rna_encoder.skip(rna), atol=1e-5)
    whole = model.slide_encoder(bags)
    assert torch.allclose(whole[:, :1], model.slide_encoder.embedding(bags), atol=1e-5)
    mask = torch.arange(6) < torch.tensor([[6], [3], [1], [6]])
    ragged = model.encode_slide(bags, mask)
    assert torch.allclose(ragged[1], model.encode_slide(bags[1:2, :3])[0], atol=1e-5)


# Scaling of the input


def test_ranks_are_normal_scores_of_the_training_patches():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.lognormal(10, 3, 4000), rng.normal(size=4000) * 1e-6, np.full(4000, 7.0)])
    scaling = InputScaling("ranks", 3)
    scaling.fit(torch.from_numpy(x))
    found = scaling(torch.from_numpy(x)).numpy()
    for j in (0, 1):
        exact = norm.ppf((rankdata(x[:, j]) - 0.5) / len(x))
        inside = np.abs(exact) < 2
        assert np.abs(found[inside, j] - exact[inside]).max() < 0.1
        assert (np.diff(found[np.argsort(x[:, j]), j]) >= 0).all()
    assert not found[:, 2].any()
    far = scaling(torch.tensor([[1e12, -5.0, 1e9], [-1e12, 5.0, -1e9]]))
    assert torch.isfinite(far).all()
    assert far.abs().max() < 4


def test_ties_share_one_score():
    x = torch.cat([torch.zeros(60, 1), torch.arange(1.0, 41.0)[:, None]])
    scaling = InputScaling("ranks", 1)
    scaling.fit(x)
    z = scaling(x)[:, 0]
    assert z[:60].unique().numel() == 1
    assert z[0] == pytest.approx(-norm.pdf(norm.ppf(0.6)) / 0.6, abs=0.05)  # mean of the tied scores
    assert z[60:].min() > z[0]


def test_clipping_resists_outliers_and_keeps_rare_features():
    x = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    x[0, 0] = 1e6
    x[:, 1] = 0
    x[:50, 1] = 3.0  # mostly zero: no interquartile range
    x[:, 2] = 2.0
    scaling = InputScaling("clip", 3)
    scaling.fit(x)
    z = scaling(x)
    assert z[1:, 0].std() == pytest.approx(1, abs=0.1)
    assert z[0, 0] == CLIP
    assert z[:50, 1].min() > 1
    assert not z[:, 2].any()


@pytest.mark.parametrize("kind", ["clip", "ranks"])
def test_a_model_does_not_see_the_unit_of_its_features(kind):
    bags, _ = batch(b=20)
    scale = torch.tensor([10.0**k for k in range(-3, 4)])
    found = []
    for x in (bags, bags * scale):
        model = make(input_scaling=kind).eval()
        fit_input(model, lambda x=x: iter(x), len(x))
        found.append(model.encode_slide(x))
    assert torch.allclose(*found, atol=1e-3)
    fresh = make(input_scaling=kind)
    fresh.load_state_dict(model.state_dict())  # the statistics are stored with the model
    assert torch.allclose(fresh.eval().encode_slide(bags * scale), found[1])


def test_a_sample_takes_as_many_rows_of_every_slide():
    sample = Sample(40_000)
    sample.add(torch.arange(8.0)[:, None])
    assert sample.result().tolist() == [[0.0]]
    sample = Sample(4)
    sample.add(torch.zeros(100_000, 1))
    assert len(sample.result()) == 16_384


def test_short_bags_are_convolved_as_long_ones_are(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 7, 12, generator=generator, requires_grad=True)
    kernel = torch.randn(4, 1, 5, 1, generator=generator, requires_grad=True)
    mixed = torch.randn(3, 2, 12, generator=generator)
    found = []
    for short in (8, 0):
        monkeypatch.setattr(value_convolution, "SHORT", short)
        out = value_convolution.add_value_convolution(mixed, values, kernel, 2)
        found.append([out, *torch.autograd.grad(out.square().sum(), (values, kernel))])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
