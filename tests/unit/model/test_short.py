"""Work that is left out changes nothing: masked tokens alone, rows alone, quick dropout and convolution."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.config.pretrain import PretrainSettings
from mirror.model.attention import slide_attention as attention_module
from mirror.model.attention.nystrom_cpu import NystromCPU
from mirror.model.attention.slide_attention import AttentionBlock
from mirror.model.attention.value_convolution import BLOCK, HeadConvolution, ImageConvolution, add_value_convolution
from mirror.model.dropout import add_dropped, dropped_places
from mirror.model.losses import compute_losses
from mirror.model.mirror import build_model
from mirror.model.noise import Draws
from mirror.model.token_rows import take

WIDTH, GENES, DIM = 6, 11, 24


def model(attention="exact", depth=1, target="encoder", ratio=0.75, dropout=0.0):
    sizes = {"embed_dim": DIM, "tokens": 40, "prototypes": 9, "style_dim": 4, "style_hidden": (12, 6), "landmarks": 7}
    changes = {
        "model": {**sizes, "attention": attention, "slide_dropout": dropout, "rna_dropout": dropout},
        "retention": {"slide_depth": depth, "target": target, "mask_ratio": ratio},
    }
    torch.manual_seed(0)
    return build_model(PretrainSettings.model_validate(changes), GENES, WIDTH)


def inputs(b, n, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    bags, rna = torch.randn(b, n, WIDTH, generator=generator), torch.randn(b, GENES, generator=generator)
    mask, style = torch.rand(b, n, generator=generator), torch.randn(b, 4, generator=generator)
    return bags.to(dtype), rna.to(dtype), Draws(mask, torch.rand(b, DIM, generator=generator), style, style)


def losses_and_gradients(net, bags, rna, draws, everything):
    net.zero_grad()
    losses = compute_losses(net(bags, rna, draws, everything=everything), net.settings)
    losses["total"].backward()
    return losses, {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def assert_same(net, batch, tolerance):
    """The short path against the plain one, which ``everything`` takes."""
    (losses, gradients), (plain_losses, plain) = (losses_and_gradients(net, *batch, flag) for flag in (False, True))
    assert losses.keys() == plain_losses.keys() and gradients.keys() == plain.keys()
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(plain_losses[name].item(), rel=max(tolerance, 1e-6)), name
    for name, gradient in gradients.items():
        scale = max(plain[name].abs().max().item(), 1e-6)
        assert (gradient - plain[name]).abs().max().item() <= tolerance * scale, name


@settings(max_examples=12, deadline=None)
@given(
    attention=st.sampled_from(["exact", "nystrom"]),
    depth=st.integers(1, 3),
    target=st.sampled_from(["encoder", "encoder_stopgrad", "input"]),
    ratio=st.sampled_from([0.0, 0.1, 0.75, 0.99]),
    b=st.integers(1, 4),
    n=st.integers(2, 40),
    seed=st.integers(0, 99),
)
def test_losses_and_gradients_of_the_masked_tokens_alone_are_those_of_all(attention, depth, target, ratio, b, n, seed):
    # The losses themselves are float32, which the gradients then show.
    assert_same(model(attention, depth, target, ratio).double(), inputs(b, n, seed), 1e-6)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("b", [1, 3])
def test_the_same_through_the_cpu_kernel(monkeypatch, depth, b):
    monkeypatch.setattr(attention_module, "SMALLEST_SPECTRAL", 2)
    assert_same(model("nystrom", depth), inputs(b, 37, dtype=torch.float32), 2e-5)


@pytest.mark.parametrize("attention", ["exact", "nystrom"])
@pytest.mark.parametrize("depth", [1, 2])
def test_autocast_keeps_both_alike(attention, depth):
    """As on a GPU: bfloat16 products, float32 parameters and losses."""
    net, (bags, rna, draws) = model(attention, depth), inputs(3, 30, dtype=torch.float32)
    found = []
    for everything in (False, True):
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = net(bags, rna, draws, everything=everything)
        loss = compute_losses(output, net.settings)["total"]
        loss.backward()
        found.append((loss, torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])))
    (loss, gradient), (plain_loss, plain) = found
    assert gradient.dtype == torch.float32 and torch.isfinite(gradient).all()
    assert loss.item() == pytest.approx(plain_loss.item(), rel=1e-2)
    assert F.cosine_similarity(gradient, plain, dim=0) > 0.999


def test_what_is_rebuilt():
    net, (bags, rna, draws) = model(), inputs(3, 21, dtype=torch.float32)
    short = net(bags, rna, draws).slide_retention
    whole = net(bags, rna, draws, everything=True).slide_retention
    kept = math.floor(0.25 * 21)
    assert short.rebuilt.shape == (3, 21 - kept, DIM) == short.target.shape and short.mask is None
    assert whole.rebuilt.shape == (3, 21, DIM) and whole.mask.sum() == 3 * (21 - kept)
    torch.testing.assert_close(short.rebuilt.flatten(0, 1), whole.rebuilt[whole.mask])
    mask = torch.arange(21) < torch.tensor([[21], [9], [21]])  # lengths differ: all tokens
    assert net(bags, rna, draws, mask).slide_retention.rebuilt.shape == (3, 21, DIM)


@pytest.mark.parametrize("attention", ["exact", "nystrom", "kernel"])
@pytest.mark.parametrize("rows", [1, 5, 30, torch.tensor([[3, 29, 0, 11], [7, 8, 9, 1]])])
def test_rows_of_a_block_are_rows_of_the_whole(monkeypatch, attention, rows):
    if attention == "kernel":
        monkeypatch.setattr(attention_module, "SMALLEST_SPECTRAL", 2)
    net = model("exact" if attention == "exact" else "nystrom").slide_encoder.block1
    x = torch.randn(2, 30, DIM)
    torch.testing.assert_close(net(x, rows), take(net(x), rows), rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(2, 40), k=st.integers(1, 40), prefix=st.booleans(), seed=st.integers(0, 99))
def test_cpu_kernel_of_rows_and_its_gradients(n, k, prefix, seed):
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(2, n, 36, generator=generator, dtype=torch.float64).requires_grad_()
    kernel = torch.randn(2, 1, 33, 1, generator=generator, dtype=torch.float64).requires_grad_()
    rows = min(k, n) if prefix else torch.rand(2, n, generator=generator).argsort(1)[:, : min(k, n)]
    expected = take(NystromCPU.apply(qkv, kernel, 2, 5, "matrix", None), rows)
    found = NystromCPU.apply(qkv, kernel, 2, 5, "matrix", rows)
    weight = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(out, (qkv, kernel), weight) for out in (found, expected))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * b.abs().max().item())


@settings(max_examples=20, deadline=None)
@given(n=st.sampled_from([1, 2, 17, BLOCK - 1, BLOCK, BLOCK + 1, 150]), width=st.sampled_from([1, 3, 33]))
def test_convolution_by_bands_is_the_depthwise_convolution(n, width):
    values, mixed = (torch.randn(2, n, 10, dtype=torch.float64, requires_grad=True) for _ in range(2))
    kernel, weight = torch.randn(2, 1, width, 1, dtype=torch.float64, requires_grad=True), torch.randn(2, n, 10)
    expected, found = mixed + ImageConvolution.apply(values, kernel), HeadConvolution.apply(mixed, values, kernel, None)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(out, (mixed, values, kernel), weight.double()) for out in (found, expected))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("rows", [1, 40, 90, torch.tensor([[5, 80], [0, 3]])])
def test_convolution_of_some_rows(rows):
    values, kernel = torch.randn(2, 90, 8, requires_grad=True), torch.randn(2, 1, 33, 1, requires_grad=True)
    whole = take(ImageConvolution.apply(values, kernel), rows)
    mixed, weight = torch.randn(whole.shape), torch.randn(whole.shape)
    found = add_value_convolution(mixed, values, kernel, rows)
    torch.testing.assert_close(found, mixed + whole)
    gradients = (torch.autograd.grad(out, (values, kernel), weight) for out in (found, whole))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    half = add_value_convolution(mixed.bfloat16(), values.bfloat16(), kernel, rows)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), found, rtol=0.1, atol=0.3)


@given(n=st.integers(1, 400), p=st.floats(0.01, 0.25), seed=st.integers(0, 99))
def test_dropped_places_are_distinct_and_within(n, p, seed):
    torch.manual_seed(seed)
    places = dropped_places(n, p)
    assert places.dtype == torch.int64 and (places.diff() > 0).all()
    assert not len(places) or (places[0] >= 0 and places[-1] < n)


def test_dropout_falls_everywhere_alike_and_independently():
    torch.manual_seed(0)
    draws, n, p = 4000, 60, 0.1
    fallen = torch.zeros(draws, n)
    for row in fallen:
        row[dropped_places(n, p)] = 1
    sigma = math.sqrt(p * (1 - p) / draws)
    assert ((fallen.mean(0) - p).abs() < 4.5 * sigma).all()
    assert (fallen.sum(1).var() / (n * p * (1 - p)) - 1).abs() < 0.1  # binomial
    neighbours = (fallen[:, 1:] * fallen[:, :-1]).mean()
    assert abs(neighbours - p * p) < 4.5 * math.sqrt(p * p / (draws * (n - 1)))


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_is_added_with_its_gradient_and_repeats_by_seed(p):
    x, y = torch.randn(2, 50, 16, requires_grad=True), torch.randn(2, 50, 16, requires_grad=True)
    weight = torch.randn(2, 50, 16)
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        out = add_dropped(x, y, p, True)
        results.append((out.detach(), *torch.autograd.grad(out, (x, y), weight)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    out, grad_x, grad_y = results[0]
    kept = (out != x).detach()
    assert 1 - kept.float().mean().item() == pytest.approx(p, abs=0.05)
    torch.testing.assert_close(out, (x + y * kept / (1 - p)).detach())
    assert torch.equal(grad_x, weight)
    torch.testing.assert_close(grad_y, weight * kept / (1 - p))
    assert torch.equal(add_dropped(x, y, p, False), x + y)


def test_a_block_drops_after_its_projection_in_training_alone():
    block = model(dropout=0.2).slide_encoder.block1
    assert isinstance(block, AttentionBlock)
    x = torch.randn(2, 40, DIM)
    with torch.no_grad():
        whole = block.eval()(x) - x
        change = block.train()(x) - x
    fallen = change.abs() < 1e-6
    assert fallen.float().mean().item() == pytest.approx(0.2, abs=0.05)
    torch.testing.assert_close(change[~fallen], whole[~fallen] / 0.8, rtol=1e-3, atol=1e-4)
