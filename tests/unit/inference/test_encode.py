"""Checkpoints and encoding: any modality, any batch, the same figures."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mirror.core.errors import InputError
from mirror.core.hashing import sha256_file
from mirror.dataset.paired import PairedData
from mirror.inference.encode import encode, restore_model, write_embeddings
from mirror.io.checkpoints import differing_keys, load_checkpoint, read_header, save_checkpoint
from mirror.training.loop import pretrain
from training_world import GENES, WIDTH, arrays, in_memory, settings

DIM, STYLE, PROTOTYPES = 16, 4, 6


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    pretrain(in_memory(), settings(), 42, out / "m.safetensors", out / "m.tsv", out / "state", variant="mirror")
    return out / "m.safetensors"


def test_every_slide_and_patient_gets_a_row(trained: Path) -> None:
    bags, owners, rna, sets = arrays(per_patient=2)
    del rna["P00"]
    for slide in ("S01a", "S01b"):
        del bags[slide], owners[slide]
    result = encode(trained, PairedData.from_arrays(bags, owners, rna, sets), settings=settings())
    assert result.n_obs == len(bags) + 1
    shapes = {
        "X_wsi": DIM, "X_rna": DIM, "X_fused": 2 * DIM, "X_style": 2 * STYLE, "X_align_wsi": DIM, "X_align_rna": DIM,
        "X_prototypes_wsi": PROTOTYPES, "X_prototypes_rna": PROTOTYPES,
    }  # fmt: skip
    assert {name: value.shape[1] for name, value in result.obsm.items()} == shapes
    obs, missing = result.obs, {name: np.isnan(value).all(axis=1) for name, value in result.obsm.items()}
    assert np.array_equal(missing["X_wsi"], ~obs["has_wsi"]) and missing["X_wsi"].sum() == 1
    assert np.array_equal(missing["X_rna"], ~obs["has_rna"]) and missing["X_rna"].sum() == 2
    assert np.array_equal(missing["X_fused"], missing["X_wsi"] | missing["X_rna"])
    assert np.array_equal(missing["X_align_rna"], missing["X_prototypes_rna"])
    alone = obs[~obs["has_wsi"]]
    assert alone["slide_id"].tolist() == [""] and alone["patient_id"].tolist() == ["P01"]
    assert obs.index.is_unique and set(obs["set"]) == {"train", "test"}
    full = result[~missing["X_fused"]]
    assert np.array_equal(full.X, np.concatenate([full.obsm["X_wsi"], full.obsm["X_rna"]], axis=1))
    assert np.array_equal(obs.loc[obs["has_wsi"], "n_tokens"], [len(bags[s]) for s in sorted(bags)])
    told = json.loads(result.uns["mirror"])
    assert told["checkpoint_sha256"] == sha256_file(trained) and told["seed"] == 42
    assert not set(told["patients_seen"]) & {p for p, s in sets.items() if s == "test"}


def test_slides_only_and_rna_only(trained: Path) -> None:
    bags, owners, rna, sets = arrays()
    both = encode(trained, PairedData.from_arrays(bags, owners, rna, sets))
    slides = encode(trained, PairedData.from_arrays(bags, owners, {}, sets))
    only_rna = encode(trained, PairedData.from_arrays({}, {}, rna, sets))
    assert np.array_equal(slides.obsm["X_wsi"], both.obsm["X_wsi"]) and np.isnan(slides.obsm["X_rna"]).all()
    assert np.array_equal(only_rna.obsm["X_rna"], both.obsm["X_rna"]) and np.isnan(only_rna.obsm["X_wsi"]).all()
    assert only_rna.n_obs == 16 and (only_rna.obs["slide_id"] == "").all()


@pytest.mark.parametrize("attention", ["nystrom", "exact"])
@pytest.mark.parametrize("pinv", ["matrix", "batch"])
def test_an_embedding_depends_on_its_slide_alone(tmp_path: Path, attention: str, pinv: str) -> None:
    chosen = settings(model={"attention": attention, "pinv_scaling": pinv}, train={"epochs": 1})
    pretrain(in_memory(), chosen, 1, tmp_path / "m.safetensors", tmp_path / "m.tsv", tmp_path / "state")
    bags, owners, rna, sets = arrays()
    all_of_them = encode(tmp_path / "m.safetensors", PairedData.from_arrays(bags, owners, rna, sets))
    few = ["S03a", "S14a"]
    data = PairedData.from_arrays(
        {s: bags[s] for s in few}, {s: owners[s] for s in few}, {owners[s]: rna[owners[s]] for s in few}, sets
    )
    part = encode(tmp_path / "m.safetensors", data)
    for name in all_of_them.obsm:
        assert np.array_equal(part.obsm[name], all_of_them[few].obsm[name])


def test_larger_slides_give_a_fixed_subset(trained: Path) -> None:
    data = in_memory()
    first, again = (encode(trained, data, max_tokens=10) for _ in range(2))
    assert np.array_equal(first.obsm["X_wsi"], again.obsm["X_wsi"])
    assert first.obs["n_tokens"].max() == 10
    whole = encode(trained, data)
    assert not np.allclose(first.obsm["X_wsi"], whole.obsm["X_wsi"])


def test_embeddings_are_the_model_s_and_round_trip(trained: Path, tmp_path: Path) -> None:
    data = in_memory()
    result = encode(trained, data)
    model = restore_model(load_checkpoint(trained), torch.device("cpu"))
    with torch.no_grad():
        bag = data.bags.whole("S05a", 0, 42)[None]
        embedding = model.encode_slide(bag)
        assert np.allclose(result["S05a"].obsm["X_wsi"], embedding.numpy(), atol=1e-5)
        assert np.allclose(result["S05a"].obsm["X_align_wsi"], model.align_slide(embedding).numpy(), atol=1e-5)
        style = model.style(embedding, torch.zeros(STYLE))
        assert np.allclose(result["S05a"].obsm["X_style"][:, :STYLE], style.mu.numpy(), atol=1e-5)
        assert np.allclose(result["S05a"].obsm["X_prototypes_wsi"], style.scores.numpy(), atol=1e-5)
    write_embeddings(tmp_path / "e.h5ad", result)
    back = anndata.read_h5ad(tmp_path / "e.h5ad")
    assert back.obs_names.equals(result.obs_names)
    assert all(np.array_equal(back.obsm[k], v, equal_nan=True) for k, v in result.obsm.items())


def test_a_slide_that_is_not_finite_is_named(trained: Path) -> None:
    bags, owners, rna, sets = arrays()
    bags["S07a"][3, 2] = np.nan
    with pytest.raises(InputError, match=r"slide S07a.*not finite"):
        encode(trained, PairedData.from_arrays(bags, owners, rna, sets))


def test_checkpoints_of_other_data_or_settings_are_refused(trained: Path) -> None:
    data = in_memory()
    load_checkpoint(trained, settings=settings(), genes=data.genes, feature_width=WIDTH)
    relaxed = settings(train={"workers": 3, "save_minutes": 9.0, "device": "auto"})
    load_checkpoint(trained, settings=relaxed)
    with pytest.raises(InputError, match=r"another configuration \(retention\.target, train\.lr\)"):
        load_checkpoint(trained, settings=settings(retention={"target": "input"}, train={"lr": 0.5}))
    with pytest.raises(InputError, match="features 12 wide, these are 13 wide"):
        load_checkpoint(trained, feature_width=13)
    for genes in (data.genes[:-1], data.genes[::-1]):
        with pytest.raises(InputError, match="another gene set"):
            load_checkpoint(trained, genes=genes)
    wider = PairedData.from_arrays({"S": np.zeros((4, 5), np.float32)}, {"S": "P"}, {}, {"P": "test"})
    with pytest.raises(InputError, match="12 wide, these are 5 wide"):
        encode(trained, wider)
    assert differing_keys(settings(), relaxed) == []


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign", "header", "weights"])
def test_broken_checkpoints_are_told_apart(trained: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "m.safetensors"
    content = trained.read_bytes()
    match = {"missing": "does not exist", "cut": "cannot be read", "foreign": "lacks 'mirror'", "header": "header does"}
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        save_file({"x": torch.zeros(1)}, path)
    elif damage == "header":
        save_file({"x": torch.zeros(1)}, path, metadata={"mirror": json.dumps({"config": {"no": 1}})})
    elif damage == "weights":
        found = load_checkpoint(trained)
        weights = {k: v for k, v in load_file(trained).items() if "norm" not in k}
        save_checkpoint(
            path, weights, found.settings, n_genes=GENES, feature_width=WIDTH, genes=in_memory().genes, patients=[],
            validation_patients=[], seed=0, variant="", code_version="",
        )  # fmt: skip
        with pytest.raises(InputError, match="weights do not fit"):
            encode(path, in_memory())
        return
    with pytest.raises(InputError, match=match[damage]):
        load_checkpoint(path)


def test_the_same_content_gives_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    found = load_checkpoint(trained)
    save_checkpoint(
        tmp_path / "again.safetensors", found.weights, found.settings, n_genes=GENES, feature_width=WIDTH,
        genes=in_memory().genes, patients=found.patients[::-1],
        validation_patients=found.validation_patients, seed=found.seed,
        variant=found.variant, code_version=found.code_version,
    )  # fmt: skip
    assert (tmp_path / "again.safetensors").read_bytes() == trained.read_bytes()


def test_a_checkpoint_of_version_0_1_0_is_read(trained: Path, tmp_path: Path) -> None:
    """Its header calls the validation patients `watched`."""
    found = load_checkpoint(trained)
    header = read_header(trained)
    header["watched"] = header.pop("validation_patients")
    save_file(load_file(trained), tmp_path / "old.safetensors", metadata={"mirror": json.dumps(header)})
    assert load_checkpoint(tmp_path / "old.safetensors").validation_patients == found.validation_patients != []
