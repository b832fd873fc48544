"""Who of a target cohort may be ranked, with which genes, and the scripts of the transfer on tiny cohorts."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from mirror.audit.checks import check_fitted, check_patient_overlap
from mirror.audit.provenance import read_fitted
from mirror.config.rna import RnaSettings
from mirror.core.errors import InputError
from mirror.evaluation.transfer.prepare import match_genes, shared_patients, transfer_splits
from mirror.rna.transform import fit_transform

ROOT = Path(__file__).resolve().parents[3]
NOTE = {"values": "counts", "normalized": {"scale": "log1p"}}


def script(name: str):
    """A rule's script as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "workflow" / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expression(patients: list[str], genes: list[str], seed: int, note: dict = NOTE) -> anndata.AnnData:
    """Random log expression."""
    x = np.random.default_rng(seed).gamma(4, 1, size=(len(patients), len(genes))).astype(np.float32)
    data = anndata.AnnData(X=x, obs=pd.DataFrame(index=patients), var=pd.DataFrame(index=genes))
    data.uns["mirror"] = json.dumps(note)
    return data


GENES = [f"G{i}" for i in range(30)]
HERE = [f"TCGA-A1-{i:04d}" for i in range(12)]
THERE = [f"TCGA-B2-{i:04d}" for i in range(10)]


def people(names: list[str]) -> pd.DataFrame:
    """Only identifiers."""
    return pd.DataFrame({"patient_id": names})


def slides(names: list[str], prints: list[str]) -> pd.DataFrame:
    """One slide per patient."""
    return pd.DataFrame({"slide_id": [f"{n}-DX1" for n in names], "patient_id": names, "fingerprint": prints})


def test_a_shared_patient_is_found_by_name_slide_and_rna():
    """Each identity is planted once, and nobody else is found."""
    target = [*THERE, "tcga.a1.0003"]
    theirs = slides(HERE, [f"h{i}" for i in range(12)])
    ours = slides(target, [*(f"t{i}" for i in range(9)), "h5", ""])
    rna = expression(HERE, GENES, 0), expression(target, GENES[5:], 1)
    rna[1].X[2] = rna[0].X[7, 5:]
    found = shared_patients(people(HERE), people(target), theirs, ours, rna)
    assert set(found) == {"tcga.a1.0003", THERE[9], THERE[2]}
    assert "TCGA-A1-0003" in found["tcga.a1.0003"] and HERE[5] in found[THERE[9]] and HERE[7] in found[THERE[2]]
    assert shared_patients(people(HERE), people(THERE), theirs, slides(THERE, [""] * 10)) == {}


def source_splits() -> pd.DataFrame:
    """Two folds of the source."""
    rows = [(p, 0, f, "test" if i % 2 == f else "train") for f in range(2) for i, p in enumerate(HERE)]
    return pd.DataFrame(rows, columns=["patient_id", "repeat", "fold", "set"])


def test_folds_train_on_the_source_and_test_the_target_without_the_shared():
    """Every fold tests the same patients; the audit of patients passes."""
    table, report = transfer_splits(source_splits(), people([*THERE, HERE[0]]), {HERE[0]: "is there"})
    test = table[table["set"] == "test"].groupby("fold")["patient_id"].agg(list)
    assert test.tolist() == [THERE, THERE]
    assert set(table.loc[table["set"] == "train", "patient_id"]) == set(HERE)
    assert check_patient_overlap(table).passed and report["messages"][0].startswith("1 patients")
    with pytest.raises(InputError, match="all 1 patients of the target"):
        transfer_splits(source_splits(), people(HERE[:1]), {HERE[0]: "is there"})


def test_genes_are_put_in_the_sources_form_and_missing_ones_are_named():
    """The matched expression transforms as the target would; a missing gene stops unless a share is allowed."""
    source, target = expression(HERE, GENES, 0), expression(THERE, [*GENES[::-1], "EXTRA"], 1)
    fitted = fit_transform(source, HERE[:8], GENES[:20], RnaSettings())
    matched = match_genes(target, [fitted], 0.0, NOTE, ("A", "B"))
    assert list(matched.var_names) == GENES[:20]
    assert np.array_equal(fitted.apply(matched, THERE), fitted.apply(target, THERE))
    poor = target[:, [g for g in target.var_names if g not in ("G3", "G7")]].copy()
    with pytest.raises(InputError, match=r"2 of the 20 genes that models of A read are not in B: G3, G7"):
        match_genes(poor, [fitted], 0.05, NOTE, ("A", "B"))
    filled = match_genes(poor, [fitted], 0.1, NOTE, ("A", "B"))
    got = fitted.apply(filled, THERE)
    assert np.isfinite(got).all() and np.ptp(got[:, 3]) == 0
    assert json.loads(filled.uns["mirror"])["missing_genes"] == ["G3", "G7"]
    middle = np.median(source[HERE[:8], ["G3"]].X)
    assert got[0, 3] == pytest.approx((middle - fitted.mean[3]) / fitted.scale[3], abs=1e-5)


def test_values_on_two_scales_are_refused():
    """z-scores of one cohort are no log counts of another."""
    fitted = fit_transform(expression(HERE, GENES, 0), HERE, GENES, RnaSettings())
    other = expression(THERE, GENES, 1, {"values": "zscore", "normalized": {"scale": "zscore"}})
    with pytest.raises(InputError, match="expression of A is log1p and of B zscore"):
        match_genes(other, [fitted], 0.0, NOTE, ("A", "B"))


@pytest.fixture
def transferred(evaluation_cohort, embeddings_writer, tmp_path):
    """The files of two cohorts after `prepare_transfer` and `evaluate_transfer`; Q000 is P000 by its RNA."""
    patients, factors, splits, files = evaluation_cohort
    target = patients.set_axis([f"Q{i:03d}" for i in range(len(patients))])
    target["patient_id"] = target.index
    for name, table in (("source", patients), ("target", target)):
        table.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
        prints = [f"{name}{i}" for i in range(len(table))]
        slides(list(table.index), prints).to_csv(tmp_path / f"{name}_slides.tsv", sep="\t", index=False)
    splits.to_csv(tmp_path / "splits.tsv", sep="\t", index=False)
    rna = expression(list(patients.index), GENES, 0), expression(list(target.index), GENES, 1)
    rna[1].X[0] = rna[0].X[0]
    for name, data in zip(("source", "target"), rna, strict=True):
        data.write_h5ad(tmp_path / f"{name}.h5ad")
    script("prepare_transfer").main(
        source_patients=tmp_path / "source.tsv",
        target_patients=tmp_path / "target.tsv",
        source_slides=tmp_path / "source_slides.tsv",
        target_slides=tmp_path / "target_slides.tsv",
        source_splits=tmp_path / "splits.tsv",
        source_rna=tmp_path / "source.h5ad",
        target_rna=tmp_path / "target.h5ad",
        tolerance=1e-3,
        splits=tmp_path / "t" / "splits.tsv",
        report=tmp_path / "t" / "splits.json",
        slides=tmp_path / "t" / "slides.tsv",
    )
    place = splits.assign(patient_id="Q" + splits["patient_id"].str[1:], set="test")
    theirs = embeddings_writer(tmp_path / "embeddings" / "B" / "enc" / "cv5_from_A" / "mirror", target, factors, place)
    settings = {"modalities": ["fused"], "probe": {"C": [0.01], "inner_folds": 3}, "statistics": {"bootstrap": 50}}
    names = {"cohort": "B", "encoder": "enc", "scheme": "cv5_from_A", "method": "mirror"}
    out = tmp_path / "predictions" / "mirror.parquet"
    script("evaluate_transfer").main(
        files, tmp_path / "source.tsv", tmp_path / "splits.tsv", theirs, tmp_path / "target.tsv",
        (tmp_path / "source.tsv", tmp_path / "target.tsv"), {"name": "survival", "kind": "survival"},
        tmp_path / "t" / "splits.tsv", settings, names, 0, out,
    )  # fmt: skip
    return tmp_path, out


def test_scripts_leave_the_shared_patient_out_and_pass_the_audit(transferred):
    """The planted twin is in no set and has no risk; the heads' record holds no patient of the target."""
    folder, out = transferred
    told = json.loads((folder / "t" / "splits.json").read_text())
    assert list(told["left_out"]) == ["Q000"] and told["kind"] == "transfer"
    rows = pd.read_parquet(out)
    assert "Q000" not in set(rows["patient_id"]) and rows["patient_id"].nunique() == 59
    assert set(rows["protocol"]) == {"transfer"}
    splits = pd.read_csv(folder / "t" / "splits.tsv", sep="\t")
    records = read_fitted(out)
    assert {"probe", "time_bins"} <= {r.check for r in records}
    assert all(check_fitted(name, records, splits).passed for name in ("probe", "time_bins"))
    leaking = splits.assign(patient_id=splits["patient_id"].replace("Q001", "P001"))
    assert not check_fitted("probe", records, leaking[leaking["set"] == "test"]).passed
