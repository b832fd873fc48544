"""Checkpoints of the reference implementation."""

from __future__ import annotations

import argparse
import os
import pickle
import random
from fractions import Fraction

import pytest
import torch

from mirror.config.pretrain import PretrainSettings
from mirror.core.errors import InputError
from mirror.model.mirror import build_model
from mirror.model.reference import export_reference, key_map, load_reference, to_ours

SIZES = {"embed_dim": 24, "tokens": 10, "prototypes": 7, "style_dim": 4, "style_hidden": (12, 6), "rna_heads": 12}


def small(**parts):
    torch.manual_seed(3)
    settings = PretrainSettings.model_validate({"model": SIZES} | parts)
    return build_model(settings, n_genes=9, feature_width=5)


def test_names_and_shapes_are_the_references(root):
    """A published-size model has the parameters of the reference's list: names and shapes, 54 million numbers."""
    lines = (root / "tests/data/reference_parameters.tsv").read_text().splitlines()[1:]
    listed = {name: tuple(int(n) for n in shape.split("x") if n) for name, shape in (x.split("\t") for x in lines)}
    with torch.device("meta"):
        model = build_model(PretrainSettings(), 10234, 768)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert {theirs: shapes[ours] for theirs, ours in key_map(model).items()} == listed
    assert len(listed) == 106 and sum(p.numel() for p in model.parameters()) == 54_030_618


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


def test_any_missing_parameter_is_named(tmp_path):
    export_reference(small(), tmp_path / "e.pth.tar")
    state = torch.load(tmp_path / "e.pth.tar", weights_only=True)["state_dict"]
    for name in state:
        torch.save({"state_dict": {k: v for k, v in state.items() if k != name}}, tmp_path / "short.pth.tar")
        with pytest.raises(InputError, match=r"parameter|shape"):
            load_reference(tmp_path / "short.pth.tar")


@pytest.mark.parametrize(
    "content",
    [{}, {1: torch.zeros(2)}, [1], {"state_dict": None}, {"state_dict": {1: torch.zeros(2)}}, torch.zeros(3)],
    ids=["nothing", "numbers as names", "list", "none", "numbers inside", "tensor"],
)
def test_no_state_dict_is_said(tmp_path, content):
    torch.save(content, tmp_path / "x.pth.tar")
    with pytest.raises(InputError, match=r"x\.pth\.tar"):
        load_reference(tmp_path / "x.pth.tar")


@pytest.mark.fault(
    stage="security",
    fault="a damaged checkpoint of the published code: empty, cut short, random bytes",
    sees="its name and that it is no readable checkpoint",
    survives="nothing is trained",
)
@pytest.mark.parametrize("damage", ["empty", "dot", "cut", "random", "old pickle"])
def test_damage_is_one_error(tmp_path, damage):
    export_reference(small(), tmp_path / "e.pth.tar")
    whole = (tmp_path / "e.pth.tar").read_bytes()
    noise = bytes(random.Random(1).randbytes(500))
    cases = {"empty": b"", "dot": b".", "cut": whole[:5000], "random": noise, "old pickle": pickle.dumps({"a": 1}, 4)}
    (tmp_path / "d.pth.tar").write_bytes(cases[damage])
    with pytest.raises(InputError, match=r"d\.pth\.tar: \w+"):
        load_reference(tmp_path / "d.pth.tar")


def test_numbers_that_are_not_finite_and_odd_shapes_are_named(tmp_path):
    export_reference(small(), tmp_path / "e.pth.tar")
    state = torch.load(tmp_path / "e.pth.tar", weights_only=True)["state_dict"]
    torch.save({"state_dict": {**state, "style_mu.bias": state["style_mu.bias"] * torch.nan}}, tmp_path / "n.pth.tar")
    with pytest.raises(InputError, match=r"style\.mu\.bias\): a parameter is not finite"):
        load_reference(tmp_path / "n.pth.tar")
    for odd in (torch.zeros(3), torch.zeros(3, 3), torch.zeros(())):
        torch.save({"state_dict": {**state, "wsi_encoder._fc1.0.weight": odd}}, tmp_path / "o.pth.tar")
        with pytest.raises(InputError, match="shape"):
            load_reference(tmp_path / "o.pth.tar")


def test_heads_are_read_from_the_stored_arguments(tmp_path):
    """No shape shows them; without them a model of other heads would load and compute something else."""
    export_reference(small(), tmp_path / "a.pth.tar")
    content = torch.load(tmp_path / "a.pth.tar", weights_only=True)
    torch.save({**content, "args": argparse.Namespace(rna_num_heads=6, lr=1.0)}, tmp_path / "b.pth.tar")
    assert load_reference(tmp_path / "a.pth.tar").settings.model.rna_heads == 12
    assert load_reference(tmp_path / "b.pth.tar").settings.model.rna_heads == 6


def test_genes_are_stored_beside_the_parameters(tmp_path):
    genes = [f"G{i}" for i in range(9)]
    export_reference(small(), tmp_path / "a.pth.tar", genes=genes)
    assert load_reference(tmp_path / "a.pth.tar").genes == tuple(genes)
    export_reference(small(), tmp_path / "b.pth.tar")
    assert load_reference(tmp_path / "b.pth.tar").genes is None


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"retention": {"decode_from": "embedding", "target": "input"}}, "decode_from: embedding, retention.target"),
        ({"retention": {"target": "input"}}, "target: input"),
        ({"model": {**SIZES, "rna_heads": 6}}, "rna_heads: 6"),
        ({"model": {**SIZES, "slide_heads": 4}}, "slide_heads: 4"),
        ({"model": {**SIZES, "landmarks": 5}}, "landmarks: 5"),
        ({"model": {**SIZES, "attention": "exact"}}, "attention: exact"),
        ({"alignment": {"normalize": "clip"}}, "normalize: clip"),
    ],
)
def test_a_model_without_reference_form_is_not_exported(tmp_path, parts, says):
    """With these settings the reference's code would compute other embeddings from the same parameters."""
    with pytest.raises(InputError, match=says):
        export_reference(small(**parts), tmp_path / "f.pth.tar")
    assert not (tmp_path / "f.pth.tar").exists()
