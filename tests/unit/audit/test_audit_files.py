"""The audit reads the files that the workflow writes, and stops as a script does."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from mirror.audit.checks import check_fitted
from mirror.audit.provenance import fold_of, read_fitted
from mirror.cohort.splits.stratified import make_splits
from mirror.config.splits import SplitSettings
from mirror.core.atomic import write_tsv
from mirror.core.errors import InputError

TRAIN, TEST = ["A1", "A2"], "B1"


def write_checkpoint(path: Path, patients: list[str], validation: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    note = {"patients": patients, "validation_patients": validation, "variant": "mirror"}
    save_file({"w": np.zeros(2, np.float32)}, path, metadata={"mirror": json.dumps(note)})
    return path


def write_transform(path: Path, patients: list[str], selected: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, patients=np.array(patients, str), selected_with=np.array(selected, str), mean=np.zeros(3))
    return path


def write_predictions(path: Path, note: dict, column: str = "probabilities") -> Path:
    table = pa.table({"patient_id": [TEST], column: [0.5]})
    pq.write_table(table.replace_schema_metadata({"mirror": json.dumps(note)}), path)
    return path


def records(path: Path) -> dict[str, tuple[str, ...] | None]:
    return {record.check: record.patients for record in read_fitted(path)}


def test_transform(tmp_path: Path) -> None:
    path = write_transform(tmp_path / "transform_r1f3.npz", TRAIN, [*TRAIN, TEST])
    assert records(path) == {"scaling": tuple(TRAIN), "gene_selection": (*TRAIN, TEST)}
    assert {(record.repeat, record.fold) for record in read_fitted(path)} == {(1, 3)}
    np.savez(tmp_path / "transform_r0f0.npz", mean=np.zeros(3))
    assert records(tmp_path / "transform_r0f0.npz")["scaling"] is None


def test_checkpoint(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "r0f1.safetensors", TRAIN, [])
    assert records(path) == {"pretraining": tuple(TRAIN)}
    path = write_checkpoint(tmp_path / "r0f2.safetensors", TRAIN, [TEST])
    assert records(path) == {"pretraining": tuple(TRAIN), "epoch_selection": (TEST,)}
    save_file({"w": np.zeros(2, np.float32)}, tmp_path / "r0f3.safetensors")
    assert records(tmp_path / "r0f3.safetensors") == {"pretraining": None}


def test_embeddings(tmp_path: Path) -> None:
    data = anndata.AnnData(np.zeros((2, 2), np.float32), uns={"mirror": json.dumps({"patients": TRAIN})})
    data.write_h5ad(tmp_path / "r0f0.h5ad")
    assert records(tmp_path / "r0f0.h5ad") == {"pretraining": tuple(TRAIN)}


def test_predictions(tmp_path: Path) -> None:
    entry = {"train": TRAIN, "inner_validation": [TEST], "encoder": {"patients": TRAIN, "checkpoint": "x"}}
    path = write_predictions(tmp_path / "mirror.parquet", {"patients": {"r0f0": entry}})
    assert records(path) == {
        "probe": tuple(TRAIN),
        "label_map": tuple(TRAIN),
        "pretraining": tuple(TRAIN),
        "epoch_selection": (TEST,),
    }
    entry = {"train": TRAIN, "time_bins": [*TRAIN, TEST]}
    path = write_predictions(tmp_path / "bins.parquet", {"patients": {"r0f2": entry}}, column="risk")
    assert records(path) == {"probe": tuple(TRAIN), "time_bins": (*TRAIN, TEST)}
    path = write_predictions(tmp_path / "plain.parquet", {"patients": {"r0f0": TRAIN}})
    assert records(path)["probe"] == tuple(TRAIN)
    with pytest.raises(InputError, match="does not say whom"):
        read_fitted(write_predictions(tmp_path / "mute.parquet", {}))


def test_gene_set_note(tmp_path: Path) -> None:
    (tmp_path / "genes_r0f4.json").write_text(json.dumps({"patients": TRAIN}))
    assert records(tmp_path / "genes_r0f4.json") == {"gene_selection": tuple(TRAIN)}


def test_broken_and_unknown_files_are_refused(tmp_path: Path) -> None:
    for name in ("r0f0.npz", "r0f0.safetensors", "r0f0.h5ad", "r0f0.parquet", "genes_r0f0.json", "r0f0.pt"):
        (tmp_path / name).write_bytes(b"half a file")
        with pytest.raises(InputError):
            read_fitted(tmp_path / name)
    with pytest.raises(InputError, match="says no fold"):
        fold_of("transform.npz")
    assert fold_of("results/r9f9/genes_r2f10.txt") == (2, 10)


@pytest.fixture
def script(root: Path):
    spec = importlib.util.spec_from_file_location("audit_leaks", root / "workflow/scripts/audit_leaks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path: Path) -> dict[str, Path]:
    """A small cohort on disk, without leaks."""
    patients = pd.DataFrame(
        {"patient_id": [f"P{i}" for i in range(20)], "label": list("xy") * 10, "site": list("abab") * 5}
    )
    splits = make_splits(patients, SplitSettings(folds=2), 0)
    slides = patients[["patient_id"]].assign(
        slide_id=lambda t: t["patient_id"] + "-s", fingerprint=lambda t: t["slide_id"]
    )
    rng = np.random.default_rng(0)
    rna = anndata.AnnData(np.zeros((20, 30), np.float32), obs=patients.set_index("patient_id")[["label"]])
    rna.layers["read"] = rng.poisson(50, (20, 30)).astype(np.float32)
    for name, table in {"patients": patients, "slides": slides, "splits": splits}.items():
        write_tsv(tmp_path / f"{name}.tsv", table)
    rna.write_h5ad(tmp_path / "cohort.h5ad")
    train = splits[splits["set"] == "train"].groupby("fold")["patient_id"].agg(list)
    for fold, seen in train.items():
        write_transform(tmp_path / f"transform_r0f{fold}.npz", seen, seen)
        write_checkpoint(tmp_path / f"mirror/r0f{fold}.safetensors", seen, [])
    return {name: tmp_path / f"{name}.tsv" for name in ("patients", "slides", "splits")} | {
        "expression": tmp_path / "cohort.h5ad"
    }


def test_script_before_and_after_training(script, run, tmp_path: Path) -> None:
    transforms = sorted(tmp_path.glob("transform_*.npz"))
    script.main(**run, out=tmp_path / "leaks.json", settings={}, fitted=transforms)
    names = [check["name"] for check in json.loads((tmp_path / "leaks.json").read_text())["checks"]]
    assert {"patient_overlap", "slide_duplicates", "rna_duplicates", "gene_selection", "scaling"} <= set(names)
    checkpoints = sorted(tmp_path.glob("mirror/*.safetensors"))
    script.main(splits=run["splits"], out=tmp_path / "leaks_resnet50.json", settings={}, fitted=checkpoints)
    names = [check["name"] for check in json.loads((tmp_path / "leaks_resnet50.json").read_text())["checks"]]
    assert names == ["patient_overlap", "pretraining"]


def test_script_stops_at_a_planted_leak(script, run, tmp_path: Path) -> None:
    everyone = [f"P{i}" for i in range(20)]
    leak = write_checkpoint(tmp_path / "mirror/r0f1.safetensors", everyone, [])
    out = tmp_path / "leaks_resnet50.json"
    with pytest.raises(InputError, match="pretraining: the model was pre-trained with test patients in 1 of 1"):
        script.main(splits=run["splits"], out=out, settings={}, fitted=[leak])
    assert not out.exists() and (tmp_path / "leaks_resnet50.failed.json").exists()
    script.main(splits=run["splits"], out=out, settings={"allow": {"pretraining": "to show its price"}}, fitted=[leak])
    assert out.exists()


def test_script_reads_what_was_read_and_not_what_was_made(script, run, tmp_path: Path) -> None:
    """X is all zeros here: were it compared, every patient would be a duplicate."""
    script.main(**run, out=tmp_path / "leaks.json", settings={})
    data = anndata.read_h5ad(run["expression"])
    data.layers["read"][:] = data.layers["read"][:1]
    data.write_h5ad(run["expression"])
    with pytest.raises(InputError, match="rna_duplicates"):
        script.main(**run, out=tmp_path / "leaks.json", settings={})


def test_script_knows_a_site_scheme_by_its_report(script, run, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(json.dumps({"kind": "site"}))
    with pytest.raises(InputError, match="shared_sites: 100% of test patients"):
        script.main(**run, out=tmp_path / "leaks.json", settings={})


def test_objects_as_the_workflow_writes_them(tmp_path: Path) -> None:
    """The real writers: selection and transform of one fold, and a checkpoint."""
    import torch

    from mirror.config.pretrain import PretrainSettings
    from mirror.config.rna import RnaSettings, SelectionSettings
    from mirror.io.checkpoints import save_checkpoint
    from mirror.rna.selection import select_genes
    from mirror.rna.transform import fit_transform

    ids = [f"P{i}" for i in range(40)]
    x = np.random.default_rng(0).normal(6, 1, (40, 30)).astype(np.float32)
    data = anndata.AnnData(x, obs=pd.DataFrame(index=ids), var=pd.DataFrame(index=[f"g{i}" for i in range(30)]))
    data.uns["mirror"] = json.dumps({"values": "log2"})
    labels = pd.Series(list("xy") * 20, index=ids)
    splits = make_splits(pd.DataFrame({"patient_id": ids, "label": labels.to_numpy()}), SplitSettings(folds=2), 0)
    train = splits.loc[(splits["fold"] == 0) & (splits["set"] == "train"), "patient_id"].tolist()
    verdicts = {}
    for method in ("anova", "published"):
        rna = RnaSettings(selection=SelectionSettings(method=method, n_genes=5))
        genes = select_genes(data, labels, train, rna, 0)
        path = tmp_path / method / "transform_r0f0.npz"
        fit_transform(data, train, genes.genes, rna).with_selection(genes.patients, genes.leaks).save(path)
        found = read_fitted(path)
        verdicts[method] = {c: check_fitted(c, found, splits).passed for c in ("gene_selection", "scaling")}
    assert verdicts["anova"] == {"gene_selection": True, "scaling": True}
    assert verdicts["published"] == {"gene_selection": False, "scaling": True}
    save_checkpoint(
        tmp_path / "r0f0.safetensors",
        {"w": torch.zeros(2)},
        PretrainSettings(),
        n_genes=5,
        feature_width=8,
        genes=list("abcde"),
        patients=train[:-1],
        validation_patients=train[-1:],
        seed=0,
        variant="mirror",
        code_version="test",
    )
    found = read_fitted(tmp_path / "r0f0.safetensors")
    assert {record.check for record in found} == {"pretraining", "epoch_selection"}
    assert all(check_fitted(record.check, found, splits).passed for record in found)
