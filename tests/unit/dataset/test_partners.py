"""Cohorts that a model learns from besides its own: what is added, on which scale, and who is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from mirror.core.errors import InputError
from mirror.dataset.paired import PairedData, load_paired
from mirror.dataset.partners import Partner, add_partners
from mirror.io.features import write_features
from mirror.training.launch import Job, train_here
from training_world import GENES, WIDTH, on_disk


def partner(folder: Path, job: Job, n: int = 10, genes: int = GENES) -> Partner:
    """Another cohort on another scale: slide Q0 has no RNA, patient Q1 no slide; Q2 and later have both."""
    rng = np.random.default_rng(7)
    folder.mkdir()
    patients = [f"Q{i}" for i in range(n)]
    pd.DataFrame({"patient_id": patients}).to_csv(folder / "patients.tsv", sep="\t", index=False)
    owners = [p for p in patients if p != "Q1"]
    for p in owners:
        bag = (100 + 50 * rng.normal(size=(20, WIDTH))).astype(np.float32)
        bag[:, 3] = 7
        coords = np.stack([np.arange(20) * 256, np.zeros(20, np.int64)], 1)
        write_features(Path(job.features_dir) / f"T{p}.h5", bag, coords, encoder="toy", dtype="float32")
    slides = pd.DataFrame({"slide_id": [f"T{p}" for p in owners], "patient_id": owners, "n_tiles": 20})
    slides.to_csv(folder / "slides.tsv", sep="\t", index=False)
    adata = anndata.AnnData((40 + 5 * rng.normal(size=(n - 1, genes))).astype(np.float32))
    adata.obs_names, adata.var_names = patients[1:], [f"g{i}" for i in range(genes)]
    adata = adata[:, ::-1].copy()
    adata.uns["mirror"] = json.dumps({"values": "log1p"})
    adata.write_h5ad(folder / "rna.h5ad")
    return Partner("Q", str(folder / "patients.tsv"), str(folder / "slides.tsv"), str(folder / "rna.h5ad"))


def joined(job: Job, *partners: Partner, scale: str = "per_cohort") -> tuple[PairedData, PairedData]:
    names = ("patients", "slides", "splits", "fold", "expression", "transform", "features_dir")
    data = load_paired(**{name: getattr(job, name) for name in names})
    more = add_partners(
        data, partners, scale=scale, expression=job.expression, transform=job.transform,
        features_dir=job.features_dir, tolerance=1e-3, cache_gb=1.0,
    )  # fmt: skip
    return data, more


def test_all_their_patients_are_added_and_the_fold_stays_as_it_is(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    data, more = joined(job, partner(tmp_path / "q", job))
    for kind in ("train", "test"):
        assert more.members(kind) == data.members(kind)
    assert more.members("partner") == [f"Q{i}" for i in range(10)]
    assert np.array_equal(more.rna[: len(data.rna)], data.rna) and more.genes == data.genes
    assert more.validation_patients(0.2, 1) == data.validation_patients(0.2, 1), "nobody of another cohort is watched"
    assert len(more.pairs(more.members("partner"))) == 8
    slides, rows = more.unpaired(more.members("partner"))
    assert slides == ["TQ0"] and [more.rna_patients[i] for i in rows] == ["Q1"]
    assert more.digest() != data.digest()
    assert np.array_equal(more.bags.rows("S03a", None), data.bags.rows("S03a", None))


def test_each_cohort_is_on_its_own_scale(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    data, more = joined(job, partner(tmp_path / "q", job))
    rna = more.rna[len(data.rna) :]
    assert np.allclose(rna.mean(0), 0, atol=1e-5) and np.allclose(rna.std(0), 1, atol=1e-4)
    theirs = np.concatenate([more.bags.rows(f"TQ{i}", None).numpy() for i in (0, *range(2, 10))])
    train = data.slides.loc[data.slides["patient_id"].isin(data.members("train")), "slide_id"]
    own = np.concatenate([data.bags.rows(s, None).numpy() for s in train])
    assert np.allclose(np.median(theirs, 0), np.median(own, 0), atol=1e-3)
    varied = np.arange(WIDTH) != 3
    spread = [np.subtract(*np.percentile(part[:, varied], [75, 25], axis=0)) for part in (theirs, own)]
    assert np.allclose(*spread, rtol=1e-3)


def test_on_the_scale_of_the_fold_values_stay_apart(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    data, more = joined(job, partner(tmp_path / "q", job), scale="fold")
    assert more.rna[len(data.rna) :].min() == 5.0, "clipped: 40 is far above the training patients' values"
    assert more.bags.rows("TQ0", None)[:, 3].tolist() == [7.0] * 20


@pytest.mark.parametrize("scale", ["per_cohort", "fold"])
def test_a_gene_that_they_lack_is_at_the_mean(tmp_path: Path, scale: str) -> None:
    job = on_disk(tmp_path)
    data, more = joined(job, partner(tmp_path / "q", job, genes=GENES - 2), scale=scale)
    lacking = more.rna[len(data.rna) :][:, [more.genes.index(f"g{i}") for i in (GENES - 2, GENES - 1)]]
    assert np.abs(lacking).max() < 0.5 if scale == "fold" else not lacking.any()


def test_nobody_of_the_test_fold_may_be_among_them(tmp_path: Path) -> None:
    """By name in another spelling, by the content of a slide, by the expression vector."""
    job = on_disk(tmp_path)
    people = pd.read_csv(job.splits, sep="\t")
    tested = people.loc[people["set"] == "test", "patient_id"].tolist()
    found = partner(tmp_path / "q", job)

    table = pd.read_csv(found.patients, sep="\t")
    named = table.copy()
    named.loc[4, "patient_id"] = tested[0].lower() + " "
    named.to_csv(tmp_path / "named.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="1 test patients are also patients of cohort Q"):
        joined(job, replace(found, patients=str(tmp_path / "named.tsv")))

    own, theirs = (pd.read_csv(path, sep="\t") for path in (job.slides, found.slides))
    own["fingerprint"] = [f"own{i}" for i in range(len(own))]
    theirs["fingerprint"] = [f"theirs{i}" for i in range(len(theirs))]
    theirs.loc[2, "fingerprint"] = own.loc[own["patient_id"] == tested[1], "fingerprint"].iloc[0]
    own.to_csv(tmp_path / "own.tsv", sep="\t", index=False)
    theirs.to_csv(tmp_path / "theirs.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="has the content of the test slide"):
        joined(replace(job, slides=str(tmp_path / "own.tsv")), replace(found, slides=str(tmp_path / "theirs.tsv")))

    ours, other = anndata.read_h5ad(job.expression), anndata.read_h5ad(found.expression)
    other[3] = ours[tested[2], other.var_names].X + 1e-5
    other.write_h5ad(tmp_path / "same.h5ad")
    with pytest.raises(InputError, match=f"has the expression of the test patient {tested[2]}"):
        joined(job, replace(found, expression=str(tmp_path / "same.h5ad")))


def test_a_patient_of_two_cohorts_is_refused(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    found = partner(tmp_path / "q", job)
    with pytest.raises(InputError, match="10 patients of cohort Q are in another cohort"):
        joined(job, found, found)


def test_features_of_another_width_are_refused(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    found = partner(tmp_path / "q", job)
    for path in Path(job.features_dir).glob("T*.h5"):
        path.unlink()
        write_features(path, np.zeros((4, 5), np.float32), np.zeros((4, 2), np.int64), encoder="toy", dtype="float32")
    with pytest.raises(InputError, match="patch features of cohort Q are 5 wide, not 12"):
        joined(job, found)


def test_training_sees_them_and_says_so_in_the_checkpoint(tmp_path: Path) -> None:
    job = on_disk(tmp_path, train={"epochs": 1, "validation_fraction": 0.1, "use_unpaired": True})
    found = partner(tmp_path / "q", job)
    train_here(replace(job, partners=[asdict(found)]))
    with safe_open(job.checkpoint, "pt") as handle:
        header = json.loads(handle.metadata()["mirror"])
    people = pd.read_csv(job.splits, sep="\t").set_index("patient_id")["set"]
    train = set(people.index[people == "train"])
    assert set(header["patients"]) == (train - set(header["validation_patients"])) | {f"Q{i}" for i in range(10)}
    assert header["validation_patients"] and set(header["validation_patients"]) <= train
