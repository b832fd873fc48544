"""The model as a whole: encoding, masks, variants, constraints, losses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.config.pretrain import PretrainSettings
from mirror.config.resolve import merge, preset_changes
from mirror.config.variants import read_presets, variant_settings
from mirror.core.errors import InputError
from mirror.heads.hazard_loss import nll_survival, risk
from mirror.model.losses import cluster_loss, compute_losses, info_nce, orthogonality_loss, retention_loss, style_loss
from mirror.model.mirror import LARGEST_LOGIT_SCALE, Retained, build_model
from mirror.model.noise import Draws, mask_from_noise
from mirror.model.ppeg import PPEG, square_side, to_square
from mirror.model.reconstruction import Moments, bag_statistics, summarize
from mirror.model.style import Style

PRESETS = read_presets(Path(__file__).resolve().parents[3] / "config" / "variants.yaml")
SIZES = {"embed_dim": 24, "tokens": 20, "prototypes": 9, "style_dim": 4, "style_hidden": (12, 6)}
BASE = PretrainSettings.model_validate({"model": SIZES})
N, WIDTH, GENES = 20, 6, 11


def make(name="mirror", changes=None):
    torch.manual_seed(0)
    return build_model(variant_settings(name, changes, BASE, PRESETS), GENES, WIDTH)


def batch(b=4, n=N):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(b, n, WIDTH, generator=generator), torch.randn(b, GENES, generator=generator)


@given(n=st.integers(1, 300), ratio=st.floats(0, 0.99), seed=st.integers(0, 5))
def test_masks_keep_exactly_the_floor(n, ratio, seed):
    noise = torch.rand(3, n, generator=torch.Generator().manual_seed(seed))
    masked = mask_from_noise(noise, ratio)
    kept = math.floor((1 - ratio) * n)
    assert ((~masked).sum(1) == kept).all()
    if 0 < kept < n:  # the smallest stay
        assert all(noise[i][~masked[i]].max() <= noise[i][masked[i]].min() for i in range(3))


def test_masks_count_only_what_exists():
    valid = torch.arange(10) < torch.tensor([[10], [4], [1]])
    masked = mask_from_noise(torch.rand(3, 10), 0.75, valid)
    assert not (masked & ~valid).any()
    assert (valid & ~masked).sum(1).tolist() == [2, 1, 0]


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("ragged", [False, True])
def test_every_variant_trains(name, ragged):
    model = make(name)
    bags, rna = batch()
    mask = torch.arange(N) < torch.tensor([[N], [N], [7], [1]]) if ragged else None
    model.set_input_statistics(torch.zeros(WIDTH), torch.ones(WIDTH))
    model.before_step()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    before = [p.clone() for p in model.parameters()]
    losses = compute_losses(model(bags, rna, mask=mask), model.settings, torch.arange(4))
    losses["total"].backward()
    optimizer.step()
    model.after_step()
    weights = model.settings
    assert set(losses) - {"total"} == {
        term
        for term, weight in {
            "alignment": weights.alignment.weight,
            "slide_retention": weights.retention.slide_weight,
            "rna_retention": weights.retention.rna_weight,
            "style": weights.style.style_weight,
            "cluster": weights.style.cluster_weight,
            "orthogonality": weights.retention.orthogonality_weight,
        }.items()
        if weight
    }
    for (key, p), old in zip(model.named_parameters(), before, strict=True):
        assert torch.isfinite(p).all(), key
        assert p.requires_grad == (not torch.equal(p, old)), key


@pytest.mark.parametrize("summary", ["mean", "mean_std", "quantiles", "tokens"])
@pytest.mark.parametrize("decoder", ["linear", "mlp"])
def test_what_the_embedding_rebuilds(summary, decoder):
    changes = {"slide_summary": summary, "decoder": decoder, "slide_input_mask": 0.5, "rna_input_mask": 0.3}
    model = make("mirror_plus", {"retention": changes})
    bags, rna = batch()
    output = model(bags, rna)
    assert output.slide_retention.rebuilt.shape == output.slide_retention.target.shape
    assert not output.slide_retention.target.requires_grad
    assert torch.equal(output.rna_retention.target, rna)
    losses = compute_losses(output, model.settings)
    (gradient,) = torch.autograd.grad(losses["slide_retention"], model.slide_encoder.cls_token)
    assert gradient.abs().sum() > 0  # the embedding is what must hold it


def test_input_masking_hides_from_the_encoder_alone_and_only_in_training():
    model = make("mirror_plus", {"retention": {"slide_input_mask": 0.5, "rna_input_mask": 0.5}})
    bags, rna = batch()
    changed, noise = bags.clone(), torch.arange(N).repeat(4, 1) / N
    changed[:, N // 2 :] += 5.0
    draws = Draws(slide_input=noise, rna_input=(torch.arange(GENES) % 2).repeat(4, 1) * 0.9)
    model.eval()
    assert not torch.equal(model(bags, rna, draws).slide_embedding, model(changed, rna, draws).slide_embedding)
    model.train()
    torch.manual_seed(0)
    a = model(bags, rna, draws)
    torch.manual_seed(0)
    b = model(changed, rna, draws)
    assert torch.equal(a.slide_embedding, b.slide_embedding)
    assert not torch.equal(a.slide_retention.target, b.slide_retention.target)


@pytest.mark.parametrize("attention", ["exact", "nystrom"])
def test_embeddings_do_not_depend_on_the_batch(attention):
    model = make("mirror", {"model": {"attention": attention}}).eval()
    bags, rna = batch()
    bags[1] *= 5
    together = model.encode_slide(bags)
    torch.testing.assert_close(model.encode_slide(bags[:1]), together[:1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.encode_rna(rna)[:1], model.encode_rna(rna[:1]), rtol=1e-4, atol=1e-6)
    lengths = torch.tensor([20, 13, 13, 2])
    mask = torch.arange(N) < lengths[:, None]
    ragged = model.encode_slide(bags.masked_fill(~mask[..., None], torch.nan), mask)
    for i, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(ragged[i], model.encode_slide(bags[i : i + 1, :n])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attention", ["exact", "nystrom"])
@pytest.mark.parametrize("n", [1, 12, N])
def test_cls_alone_is_cls_of_the_whole(attention, n):
    encoder = make("mirror", {"model": {"attention": attention}}).eval().slide_encoder
    bags, _ = batch(n=n)
    whole, alone = encoder(bags)[:, :1], encoder.embedding(bags)
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("retention", [{}, {"decode_from": "embedding", "slide_summary": "tokens"}])
def test_more_patches_than_places_are_refused_in_retention_and_encoded(retention):
    model = make("mirror", {"retention": retention})
    bags, rna = torch.randn(2, 3 * N, WIDTH), torch.randn(2, GENES)
    with pytest.raises(ValueError, match=r"raise model\.tokens"):
        model(bags, rna)
    assert model.encode_slide(bags).shape == (2, 24)


def test_an_empty_bag_is_refused():
    mask = torch.ones(2, N, dtype=torch.bool)
    mask[1] = False
    with pytest.raises(ValueError, match="bag 1"):
        make().encode_slide(batch(2)[0], mask)


@pytest.mark.parametrize("attention", ["exact", "nystrom"])
@pytest.mark.parametrize("n", [1, 9, 20, 37])
def test_maps_have_a_value_for_each_tile(attention, n):
    model = make("mirror", {"model": {"attention": attention}}).eval()
    bag = batch(1, n)[0][0]
    heat = model.slide_attention(bag)
    assert heat.shape == (8, n) and torch.isfinite(heat).all()
    if attention == "exact":  # all but what CLS pays to itself
        assert (heat > 0).all() and (heat.sum(1) < 1).all()
    scores = model.tile_prototypes(bag, chunk=4)
    assert scores.shape == (n, 9)
    assert torch.equal(scores, model.tile_prototypes(bag, chunk=4))


def test_missing_modalities():
    model = make()
    bags, rna = batch()
    slide_only, rna_only = model(bags=bags), model(rna=rna)
    assert slide_only.rna_embedding is None and rna_only.slide_retention is None
    assert set(compute_losses(slide_only, model.settings)) == {"slide_retention", "style", "total"}
    assert set(compute_losses(rna_only, model.settings)) == {"rna_retention", "style", "total"}


def test_constraints_around_a_step():
    model = make()
    with torch.no_grad():
        model.style.prototypes.weight.mul_(3)
        model.logit_scale.fill_(7.0)
    model.before_step(), model.after_step()
    torch.testing.assert_close(model.style.prototypes.weight.norm(dim=1), torch.ones(9))
    assert model.logit_scale.item() == pytest.approx(LARGEST_LOGIT_SCALE)
    with torch.no_grad():
        model.logit_scale.fill_(-1.0)
    model.after_step()
    assert model.logit_scale.item() == 0.0


def test_initial_values():
    model = make("mirror", {"retention": {"rna_depth": 2}})
    assert model.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    w = model.style.prototypes.weight
    torch.testing.assert_close(w @ w.T, torch.eye(9), atol=1e-5, rtol=0)
    assert not model.slide_encoder.embed.bias.any() and not model.slide_projection.bias.any()
    bound = math.sqrt(6 / (24 + WIDTH))
    assert model.slide_encoder.embed.weight.abs().max() <= bound
    deep, shallow = model.rna_retention.blocks[1], model.rna_encoder.blocks[0]
    pairs = ((deep.fc2, shallow.fc2), (deep.attention.proj, shallow.attention.proj))
    for scaled, plain in pairs:  # second block: over sqrt(2 * 2)
        assert 2 * scaled.weight.abs().max().item() == pytest.approx(plain.weight.abs().max().item(), rel=0.05)


def test_targets_carry_gradient_only_as_published():
    for target, carries in (("encoder", True), ("encoder_stopgrad", False), ("input", False)):
        model = make("mirror", {"retention": {"target": target}})
        output = model(*batch())
        assert output.slide_retention.target.requires_grad == carries
        assert output.rna_retention.target.requires_grad == carries


def test_style_of_the_mean_and_noise_in_evaluation():
    model = make().eval()
    embedding = model.encode_rna(batch()[1])
    mean = model.style(embedding, torch.zeros(1))
    assert torch.equal(mean.z, mean.mu)
    assert not torch.equal(model.style(embedding).z, model.style(embedding).z)


def test_ppeg_is_the_sum_of_its_parts():
    torch.manual_seed(0)
    ppeg, x = PPEG(6), torch.randn(2, 26, 6)
    grid = x[:, 1:].transpose(1, 2).unflatten(2, (5, 5))
    expected = grid + ppeg.conv7(grid) + ppeg.conv5(grid) + ppeg.conv3(grid)
    found = ppeg(x)
    torch.testing.assert_close(found[:, 1:], expected.flatten(2).transpose(1, 2), rtol=1e-5, atol=1e-5)
    assert torch.equal(found[:, 0], x[:, 0])


@given(st.integers(1, 5000))
def test_square(n):
    side = square_side(n)
    assert (side - 1) ** 2 < n <= side**2
    if n < 200:
        cls, tokens = torch.full((1, 1, 1), -1.0, requires_grad=True), torch.arange(n * 1.0)[None, :, None]
        square = to_square(cls, tokens.requires_grad_())
        assert square.flatten().tolist() == [-1, *(i % n for i in range(side**2))]
        weight = torch.randn(square.shape)
        found = torch.autograd.grad(square, (cls, tokens), weight)
        plain = torch.autograd.grad(torch.cat([cls, tokens, tokens[:, : side**2 - n]], 1), (cls, tokens), weight)
        assert all(torch.equal(a, b) for a, b in zip(found, plain, strict=True))


def test_info_nce_of_perfect_and_of_same_patient_pairs():
    x = torch.eye(4)
    assert info_nce(x, x, torch.tensor(100.0)) < 1e-6
    torch.testing.assert_close(info_nce(torch.ones(4, 2), torch.ones(4, 2), torch.tensor(1.0)), torch.tensor(4.0).log())
    same = info_nce(torch.ones(4, 2), torch.ones(4, 2), torch.tensor(1.0), torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(same, torch.tensor(3.0).log())


def test_losses_by_hand():
    rebuilt, target = torch.tensor([[[1.0, 2.0], [5.0, 5.0]]]), torch.zeros(1, 2, 2)
    code = torch.ones(1, 2)
    assert retention_loss(Retained(rebuilt, target, torch.tensor([[True, False]]), code)) == 2.5
    assert retention_loss(Retained(rebuilt, target, None, code)) == 55 / 4
    zero = torch.zeros(3, 2)
    assert style_loss(Style(zero, zero, zero, zero, zero)) == 0
    assert style_loss(Style(zero + 2, zero, zero, zero, zero)) == 8
    scores = torch.randn(3, 5)
    assert cluster_loss(scores, scores + 1).abs() < 1e-6  # a shift changes no softmax
    assert orthogonality_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])) == pytest.approx(0.5)


@settings(deadline=None)
@given(
    bins=st.lists(st.integers(0, 3), min_size=1, max_size=6), alpha=st.sampled_from([0.0, 0.4]), seed=st.integers(0, 9)
)
def test_survival_likelihood_by_hand(bins, alpha, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(bins), 4, generator=generator)
    events = torch.randint(0, 2, (len(bins),), generator=generator)
    total = 0.0
    for row, t, event in zip(torch.sigmoid(logits.double()).tolist(), bins, events.tolist(), strict=True):
        alive = sum(math.log(1 - h) for h in row[:t])
        event_nll = -(alive + math.log(row[t])) if event else 0.0
        nll = event_nll if event else -(alive + math.log(1 - row[t]))
        total += (1 - alpha) * nll + alpha * event_nll
    assert nll_survival(logits, torch.tensor(bins), events, alpha).item() == pytest.approx(total / len(bins), rel=1e-5)


def test_extreme_logits_stay_finite_and_risk_rises_with_hazard():
    logits = torch.tensor([[80.0] * 4, [-80.0] * 4], requires_grad=True)
    loss = nll_survival(logits, torch.tensor([3, 0]), torch.tensor([0, 1]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()
    assert risk(logits)[0] > risk(logits)[1]


def test_statistics_over_pieces():
    bags = [torch.randn(n, WIDTH) * 3 + 1 for n in (5, 1, 30)]
    (mean, std), (summary_mean, _) = bag_statistics(bags, "mean_std")
    rows = torch.cat(bags).double()
    torch.testing.assert_close(mean, rows.mean(0))
    torch.testing.assert_close(std, rows.std(0, correction=0))
    expected = torch.stack([summarize(bag[None], "mean_std")[0] for bag in bags]).double().mean(0)
    torch.testing.assert_close(summary_mean, expected)
    with pytest.raises(ValueError, match="no rows"):
        Moments().result()


def test_variants_are_laid_over_the_shared_settings():
    assert variant_settings("mirror", {}, PretrainSettings(), PRESETS) == PretrainSettings()
    both = variant_settings("mine", {"preset": "no_retention_no_style", "model": {"rna_depth": 3}}, BASE, PRESETS)
    assert (both.retention.slide_weight, both.style.style_weight, both.model.rna_depth) == (0, 0, 3)
    assert both.model.embed_dim == 24 and both.alignment.weight == 0.5
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


def test_wrong_variants_are_named():
    with pytest.raises(InputError, match="no preset is called `mirrr`"):
        variant_settings("mirrr", {}, BASE, PRESETS)
    with pytest.raises(InputError, match=r"variant mirror: retention\.target"):
        variant_settings("mirror", {"retention": {"target": "nothing"}}, BASE, PRESETS)
    with pytest.raises(InputError, match="a -> b -> a"):
        preset_changes("a", {"a": {"preset": "b"}, "b": {"preset": "a"}})
    with pytest.raises(ValueError, match="7 heads do not divide embed_dim 24"):
        PretrainSettings.model_validate({"model": {**SIZES, "slide_heads": 7}})
