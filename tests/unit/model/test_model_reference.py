"""Checkpoints of the reference implementation."""

from __future__ import annotations

import argparse
import os
from fractions import Fraction

import pytest
import torch

from mirror.config.pretrain import PretrainSettings
from mirror.io.errors import InputError
from mirror.model.mirror import build_model
from mirror.model.reference import export_reference, key_map, load_reference, to_ours

SIZES = {"embed_dim": 24, "tokens": 10, "prototypes": 7, "style_dim": 4, "style_hidden": (12, 6), "rna_heads": 12}


def small(**parts):
    torch.manual_seed(3)
    settings = PretrainSettings.model_validate({"model": SIZES, **parts})
    return build_model(settings, n_genes=9, feature_width=5)


def test_names_and_shapes_are_the_references(root):
    """A published-size model has the parameters of the reference's list, 54 million numbers."""
    from safetensors import safe_open

    with torch.device("meta"):
        names = set(key_map(build_model(PretrainSettings(), 10234, 768)))
    with safe_open(root / "tests/data/mirror_small.safetensors", "pt") as handle:
        golden = {key.removeprefix("param.") for key in handle.keys() if key.startswith("param.")}  # noqa: SIM118
    assert names == golden
    assert len(names) == 106


def test_key_map_is_its_own_inverse():
    model = small(retention={"slide_depth": 2, "rna_depth": 2})
    assert all(to_ours(theirs) == ours for theirs, ours in key_map(model).items())
    assert len(set(key_map(model))) == len(list(model.parameters()))


def test_round_trip(tmp_path):
    model = small()
    export_reference(model, tmp_path / "a.pth.tar", epoch=7)
    checkpoint = load_reference(tmp_path / "a.pth.tar")
    back = checkpoint.build()
    for (name, a), (_, b) in zip(model.named_parameters(), back.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    model.eval(), back.eval()
    bags, rna = torch.randn(2, 10, 5), torch.randn(2, 9)
    assert torch.equal(model.encode_slide(bags), back.encode_slide(bags))
    assert torch.equal(model.encode_rna(rna), back.encode_rna(rna))
    export_reference(back, tmp_path / "b.pth.tar")
    again = torch.load(tmp_path / "b.pth.tar", weights_only=True)["state_dict"]
    first = torch.load(tmp_path / "a.pth.tar", weights_only=True)["state_dict"]
    assert first.keys() == again.keys() and all(torch.equal(first[k], again[k]) for k in first)


def test_training_scripts_form_loads(tmp_path):
    """DDP's prefix, a scalar stored as such, arguments as a Namespace, optimiser state."""
    model = small()
    parameters = dict(model.named_parameters())
    state = {f"module.{theirs}": parameters[ours].detach() for theirs, ours in key_map(model).items()}
    optimizer = torch.optim.Adam(model.parameters()).state_dict()
    arguments = argparse.Namespace(lr=2e-5, epochs=100, model="mirror")
    torch.save({"epoch": 3, "state_dict": state, "args": arguments, "optimizer": optimizer}, tmp_path / "c.pth.tar")
    checkpoint = load_reference(tmp_path / "c.pth.tar")
    assert checkpoint.arguments == {"lr": 2e-5, "epochs": 100, "model": "mirror"}
    assert (checkpoint.n_genes, checkpoint.feature_width) == (9, 5)
    assert torch.equal(checkpoint.state["rna_encoder.fc1.weight"], model.rna_encoder.fc1.weight)
    assert checkpoint.settings.model.tokens == 10


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.fault(
    stage="security",
    fault="a checkpoint of the published code that would run a command",
    sees="not loaded for safety",
    survives="no code is run",
)
def test_hostile_checkpoint_is_refused_and_runs_nothing(tmp_path):
    witness = tmp_path / "ran"
    torch.save({"state_dict": {}, "args": Hostile(witness)}, tmp_path / "hostile.pth.tar")
    with pytest.raises(InputError, match="not loaded for safety"):
        load_reference(tmp_path / "hostile.pth.tar")
    assert not witness.exists()


def test_other_classes_stay_refused(tmp_path):
    """Only the Namespace is allowed, and only while a checkpoint is read."""
    torch.save({"state_dict": {}, "args": Fraction(1, 2)}, tmp_path / "d.pth.tar")
    with pytest.raises(InputError, match="safety"):
        load_reference(tmp_path / "d.pth.tar")
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_damaged_and_foreign_files_are_named(tmp_path):
    (tmp_path / "text.pth.tar").write_text("no checkpoint")
    with pytest.raises(InputError, match=r"text\.pth\.tar"):
        load_reference(tmp_path / "text.pth.tar")
    torch.save({"state_dict": {"conv1.weight": torch.zeros(3)}}, tmp_path / "other.pth.tar")
    with pytest.raises(InputError, match=r"conv1\.weight"):
        load_reference(tmp_path / "other.pth.tar")
    export_reference(small(), tmp_path / "e.pth.tar")
    content = torch.load(tmp_path / "e.pth.tar", weights_only=True)
    del content["state_dict"]["style_mu.bias"]
    torch.save(content, tmp_path / "short.pth.tar")
    with pytest.raises(InputError, match=r"style\.mu\.bias"):
        load_reference(tmp_path / "short.pth.tar")


def test_a_model_without_reference_form_is_not_exported(tmp_path):
    model = small(retention={"decode_from": "embedding", "target": "input"})
    with pytest.raises(InputError, match="reference"):
        export_reference(model, tmp_path / "f.pth.tar")
    assert not (tmp_path / "f.pth.tar").exists()
