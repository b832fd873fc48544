"""Attention: Nystroem, its CPU kernel, exact, and the package as a witness."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.config.pretrain import ModelSettings
from mirror.model.attention import slide_attention as attention_module
from mirror.model.attention.nystrom import front_padding, iterative_pinv, landmark_means, nystrom_attention, pad_front
from mirror.model.attention.nystrom_cpu import NystromCPU, Segments
from mirror.model.attention.slide_attention import SlideAttention
from mirror.model.attention.spectral_pinv import Spectrum, divided_differences, iteration_polynomial
from mirror.model.attention.thread_pool import for_each

SCALINGS = ("matrix", "batch")


def plain(qkv, kernel, heads, landmarks, scaling):
    """The kernel's function, written with autograd."""
    n = qkv.shape[1]
    padded = pad_front(qkv, front_padding(n, landmarks)).unflatten(-1, (3, heads, -1))
    q, k, v = padded.permute(2, 0, 3, 1, 4)
    out = nystrom_attention(q * q.shape[-1] ** -0.5, k, v, landmarks, scaling)
    out = out + F.conv2d(v, kernel, padding=(kernel.shape[2] // 2, 0), groups=heads)
    return out.transpose(1, 2).flatten(2)[:, -n:]


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(2, 60),
    landmarks=st.integers(2, 16),
    heads=st.sampled_from([1, 2, 3]),
    scaling=st.sampled_from(SCALINGS),
    seed=st.integers(0, 9),
)
def test_cpu_kernel_and_its_gradients_are_those_of_the_plain_form(n, landmarks, heads, scaling, seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    qkv, kernel = draw(2, n, 3 * heads * 6).requires_grad_(), draw(heads, 1, 33, 1).requires_grad_()
    weight = draw(2, n, heads * 6)
    expected = plain(qkv, kernel, heads, landmarks, scaling)
    found = NystromCPU.apply(qkv, kernel, heads, landmarks, scaling)
    for a, b in zip(
        (expected, *torch.autograd.grad(expected, (qkv, kernel), weight)),
        (found, *torch.autograd.grad(found, (qkv, kernel), weight)),
        strict=True,
    ):
        torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-8 * a.abs().max().item())


@given(n=st.integers(1, 50), landmarks=st.integers(1, 20))
def test_segments_average_the_padded_sequence(n, landmarks):
    rows = torch.arange(n * 2, dtype=torch.float64).reshape(n, 2).requires_grad_()
    expected = landmark_means(F.pad(rows, (0, 0, front_padding(n, landmarks), 0)), landmarks)
    segments = Segments(n, landmarks)
    torch.testing.assert_close(segments.mean(rows), expected)
    weight = torch.randn(landmarks, 2, dtype=torch.float64)
    gradient = torch.zeros(n, 2, dtype=torch.float64)
    segments.add_gradient(gradient, weight)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, rows, weight)[0])


def test_spectrum_gives_the_iteration_converged_or_not():
    for spread in (0.1, 5.0):
        x = torch.softmax(spread * torch.randn(20, 20, dtype=torch.float64), -1)
        scale = x.sum(-1).max() * x.sum(-2).max()
        y = torch.randn(20, 3, dtype=torch.float64)
        torch.testing.assert_close(Spectrum.of(x, scale).apply(y), iterative_pinv(x) @ y, rtol=1e-7, atol=1e-7)


def test_pool_of_heads_gives_the_same_bits_as_one_thread():
    torch.manual_seed(0)
    qkv, kernel = torch.randn(2, 40, 3 * 16), torch.randn(2, 1, 33, 1)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            x, w = qkv.clone().requires_grad_(), kernel.clone().requires_grad_()
            out = NystromCPU.apply(x, w, 2, 8, "matrix")
            results.append((out.detach(), *torch.autograd.grad(out.square().sum(), (x, w))))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    one, several = results
    assert torch.equal(one[0], several[0]) and torch.equal(one[1], several[1])
    torch.testing.assert_close(one[2], several[2])  # torch's convolution sums by thread


def test_an_error_in_a_head_is_not_lost():
    with pytest.raises(ZeroDivisionError):
        for_each(lambda i: 1 / i, [1, 0])


def test_a_value_that_is_not_finite_comes_out_as_such():
    """The guard on the loss names the slide; the decomposition must not fail before it."""
    qkv = torch.randn(1, 20, 3 * 8)
    qkv[0, 3] = torch.nan
    qkv.requires_grad_()
    out = NystromCPU.apply(qkv, torch.randn(1, 1, 33, 1), 1, 5, "matrix")
    assert torch.isnan(out).any()
    assert torch.isnan(torch.autograd.grad(out.sum(), qkv)[0]).any()


def test_divided_differences_of_equal_values_are_the_derivative():
    w = torch.tensor([0.3, 0.3, 0.5], dtype=torch.float64)
    q, dq = iteration_polynomial(w)
    differences = divided_differences(w, q, dq)
    assert differences[0, 1] == dq[0]
    assert differences[0, 2] == pytest.approx(((q[0] - q[2]) / -0.2).item())


def layer(kind="nystrom", landmarks=12, scaling="matrix", dim=24, heads=2):
    torch.manual_seed(1)
    return SlideAttention(dim, heads, landmarks, kind, scaling).eval()


@pytest.mark.parametrize("n", [24, 30])
def test_nystrom_is_the_packages_module(n):
    """The public module that the published model uses, with the same weights."""
    module = pytest.importorskip("nystrom_attention").NystromAttention
    ours = layer(scaling="batch")
    theirs = module(dim=24, dim_head=12, heads=2, num_landmarks=12, residual=True).eval()
    theirs.to_qkv.load_state_dict(ours.qkv.state_dict())
    theirs.to_out[0].load_state_dict(ours.out.state_dict())
    theirs.res_conv.load_state_dict(ours.residual.state_dict())
    x = torch.randn(3, n, 24)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


def test_layer_takes_the_cpu_kernel_from_its_size_on(monkeypatch):
    ours, x = layer(), torch.randn(2, 30, 24)
    expected = ours(x)
    monkeypatch.setattr(attention_module, "SMALLEST_SPECTRAL", 2)
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


def test_as_many_landmarks_as_tokens_is_exact_attention():
    """With landmarks = tokens the three factors are softmaxes of one matrix; A pinv(A) A = A."""
    nystrom, exact = layer(landmarks=24, heads=1).double(), layer("exact", heads=1).double()
    with torch.no_grad():
        # Each token attends mostly to itself, so that six steps of the inverse converge.
        nystrom.qkv.weight[:48] = torch.eye(24).repeat(2, 1) + 0.05 * torch.randn(48, 24)
    exact.load_state_dict(nystrom.state_dict())
    x = 4 * torch.eye(24, dtype=torch.float64).repeat(2, 1, 1) + 0.1 * torch.randn(2, 24, 24)
    torch.testing.assert_close(nystrom(x), exact(x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_result_depends_on_the_batch_only_with_the_references_scaling(scaling):
    attention = layer(scaling=scaling)
    x = torch.randn(3, 30, 24) * torch.tensor([1.0, 1.0, 8.0])[:, None, None]
    alone, beside = attention(x[:1]), attention(x)[:1]
    if scaling == "matrix":
        torch.testing.assert_close(alone, beside, rtol=1e-4, atol=1e-6)
    else:
        assert (alone - beside).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["nystrom", "exact"])
def test_row_is_the_row_of_the_attention_matrix(kind):
    """Feeding the identity as values reads the whole matrix off the layer."""
    attention, n = layer(kind), 20
    x = torch.randn(1, n, 24)
    row = attention.row(x, 3)
    assert row.shape == (1, 2, n)
    padding = 0 if kind == "exact" else front_padding(n, 12)
    q, k, _ = attention._heads(pad_front(x, padding))
    v = torch.eye(n + padding).expand(1, 2, -1, -1)
    if kind == "exact":
        whole = F.scaled_dot_product_attention(q, k, v)
    else:
        whole = nystrom_attention(q * 12**-0.5, k, v, 12)
    torch.testing.assert_close(row, whole[:, :, padding + 3, padding:], rtol=1e-4, atol=1e-6)
    if kind == "exact":
        torch.testing.assert_close(row.sum(-1), torch.ones(1, 2))


def test_default_landmarks_are_half_the_width():
    assert SlideAttention.from_settings(ModelSettings()).landmarks == 384


@pytest.mark.parametrize("kind", ["exact", "nystrom"])
def test_inference_mode_reaches_the_threads_of_the_pool(kind):
    layer = SlideAttention.from_settings(ModelSettings(embed_dim=192, slide_heads=2, attention=kind)).eval()
    x = torch.randn(1, 20, 192)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            wanted = layer(x)
        with torch.inference_mode():
            found = layer(x)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, wanted)
