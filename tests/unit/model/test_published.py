"""The published configuration and what each preset changes of it, number by number."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from mirror.config.pretrain import PretrainSettings
from mirror.config.variants import read_presets, variant_settings
from mirror.model.mirror import Mirror, build_model

PRESETS = read_presets(Path(__file__).resolve().parents[3] / "config" / "variants.yaml")

# Wang et al., IEEE TMI 2025, and the reference implementation where the paper is silent.
PUBLISHED = {
    "method": "mirror",
    "model": {
        "embed_dim": 768, "slide_heads": 8, "landmarks": 0, "attention": "nystrom", "pinv_scaling": "matrix",
        "slide_dropout": 0.1, "rna_depth": 2, "rna_heads": 12, "rna_mlp_ratio": 4.0, "rna_dropout": 0.1,
        "style_dim": 128, "style_hidden": (512, 256), "prototypes": 3000, "tokens": 2048,
    },
    "alignment": {"weight": 0.5, "normalize": "before", "init_temperature": 0.07, "mask_same_patient": False},
    "retention": {
        "slide_weight": 0.15, "rna_weight": 0.15, "mask_ratio": 0.75, "rna_mask_ratio": None, "target": "encoder",
        "decode_from": "tokens", "slide_input_mask": 0.0, "rna_input_mask": 0.0, "slide_depth": 1, "rna_depth": 1,
        "orthogonality_weight": 0.0,
    },
    "style": {"style_weight": 0.1, "cluster_weight": 0.1, "cluster": "kl", "read_from": "embedding"},
    "train": {
        "epochs": 100, "batch_size": 16, "accumulate": 1, "lr": 2e-5, "weight_decay": 0.0, "schedule": "constant",
        "warmup_epochs": 0.0, "clip_norm": None, "ema": None, "use_unpaired": False, "init_from": None,
    },
}  # fmt: skip

# What each preset changes; a preset that is not here fails the test.
OFF = {"retention.slide_weight": 0.0, "retention.rna_weight": 0.0}
NO_STYLE = {"style.style_weight": 0.0, "style.cluster_weight": 0.0}
PLUS = {
    "model.attention": "exact", "alignment.normalize": "clip", "alignment.mask_same_patient": True,
    "retention.slide_weight": 5.0, "retention.rna_weight": 5.0, "retention.decode_from": "embedding",
    "retention.target": "input", "retention.decoder": "linear", "retention.slide_input_mask": 0.75,
    "retention.rna_input_mask": 0.75,
}  # fmt: skip
CHANGES = {
    "mirror": {},
    "align": {"alignment.weight": 1.0, **OFF, **NO_STYLE},
    "no_retention": OFF,
    "no_style": NO_STYLE,
    "no_retention_no_style": {**OFF, **NO_STYLE},
    "retention_only_slide": {"retention.rna_weight": 0.0},
    "retention_only_rna": {"retention.slide_weight": 0.0},
    "orthogonal": {"retention.orthogonality_weight": 0.1},
    "encoder_stopgrad": {"retention.target": "encoder_stopgrad"},
    "retention_input": {"retention.target": "input"},
    "exact": {"model.attention": "exact"},
    "clip_order": {"alignment.normalize": "clip"},
    "batch_pinv": {"model.pinv_scaling": "batch"},
    "tangle": {
        "method": "tangle", "model.attention": "exact", "alignment.normalize": "clip", "retention.slide_weight": 0.0,
        "retention.rna_weight": 0.5, "retention.decode_from": "embedding", "retention.target": "input", **NO_STYLE,
    },
    "mirror_plus_kl": PLUS,
    "mirror_plus": {
        **PLUS, "model.input_scaling": "ranks", "model.linear_skip": True, "model.prototypes": 20, "model.style_dim": 2,
        "style.style_weight": 0.001, "style.cluster_weight": 1.0, "style.cluster": "consensus",
        "style.read_from": "alignment", "retention.slide_feature_mask": 0.5, "retention.rna_input_mask": 0.9,
    },
}  # fmt: skip


def flat(settings: PretrainSettings) -> dict[str, object]:
    """Settings as ``group.key``."""
    out: dict[str, object] = {}
    for name, value in settings.model_dump().items():
        out |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return out


def test_defaults_are_the_published_configuration():
    got = PretrainSettings().model_dump()
    assert {g: {k: got[g][k] for k in v} if isinstance(v, dict) else got[g] for g, v in PUBLISHED.items()} == PUBLISHED


@pytest.mark.parametrize("name", sorted({*PRESETS, *CHANGES}))
def test_presets_change_what_their_names_say_and_nothing_else(name):
    published = flat(PretrainSettings())
    mine = flat(variant_settings(name, {}, PretrainSettings(), PRESETS))
    assert {key: value for key, value in mine.items() if value != published[key]} == CHANGES[name]


@pytest.fixture(scope="module")
def model() -> Mirror:
    torch.manual_seed(0)
    sizes = {"embed_dim": 192, "tokens": 400, "prototypes": 50, "style_dim": 16, "style_hidden": (64, 32)}
    return build_model(PretrainSettings.model_validate({"model": sizes}), n_genes=120, feature_width=64)


def std(x: torch.Tensor) -> float:
    return x.detach().std().item()


def test_learned_vectors_start_small(model):
    """CLS and mask tokens N(0, 0.02); positions truncated normal 0.02."""
    vectors = [model.slide_encoder.cls_token, model.slide_retention.mask_token]
    for vector in (*vectors, model.slide_retention.position, model.rna_encoder.position, model.rna_retention.position):
        tolerance = 4 * 0.02 / math.sqrt(2 * vector.numel())  # four standard errors
        assert std(vector) == pytest.approx(0.02, abs=tolerance)
        assert abs(vector.detach().mean().item()) < 4 * 0.02 / math.sqrt(vector.numel())
    assert 0 < abs(model.rna_retention.mask_token.item()) < 0.1
    # The slide's position vector is of every place and CLS; none starts at zero.
    assert model.slide_retention.position.shape == (1, 401, 192)
    assert model.slide_retention.position.detach().abs().sum(-1).min() > 0


def test_slide_linears_are_xavier_and_rna_linears_are_torchs(model):
    """Uniform with bound sqrt(6 / (in + out)) on the slide side; sqrt(1 / in) on the RNA side."""
    slide = [model.slide_encoder.embed, model.slide_projection, model.slide_encoder.block1.attention.qkv,
             model.slide_retention.embed, model.slide_retention.head]  # fmt: skip
    for linear in slide:
        bound = math.sqrt(6 / (linear.in_features + linear.out_features))
        assert std(linear.weight) == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert linear.weight.abs().max().item() <= bound
        assert linear.bias is None or not linear.bias.any()
    rna = [model.rna_encoder.fc1, model.rna_encoder.fc2, model.rna_projection, model.rna_encoder.blocks[0].fc1,
           model.rna_retention.embed, model.style.fc1]  # fmt: skip
    for linear in rna:
        bound = math.sqrt(1 / linear.in_features)
        assert std(linear.weight) == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert linear.bias.any(), "torch's default has a random bias"
    first = model.rna_retention.blocks[0]  # block 1: over sqrt(2)
    for linear in (first.attention.proj, first.fc2):
        assert std(linear.weight) == pytest.approx(math.sqrt(1 / linear.in_features / 3 / 2), rel=0.05)


def test_layer_norms_have_each_side_s_epsilon(model):
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.LayerNorm):
            assert module.eps == (1e-6 if name.startswith("rna") else 1e-5), name
            assert bool((module.weight == 1).all()) and not module.bias.any()
