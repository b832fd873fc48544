"""Joining slides and expression from the workflow's files; figures on the validation split; the log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mirror.config.rna import RnaSettings
from mirror.core.errors import InputError
from mirror.dataset.epochs import EpochPlan
from mirror.dataset.paired import PairedData, load_paired
from mirror.io.splits import read_fold
from mirror.rna.transform import fit_transform
from mirror.training.launch import Job
from mirror.training.monitor import CollapseAlarm, Means, TrainingLog, retrieval, spread
from training_world import arrays, in_memory, on_disk


def load(job: Job, **changes: object) -> PairedData:
    names = ("patients", "slides", "splits", "fold", "expression", "transform", "features_dir")
    given_values = {name: getattr(job, name) for name in names} | changes
    return load_paired(**given_values)


def test_files_give_what_arrays_give(tmp_path: Path) -> None:
    data, (_, owners, rna, sets) = load(on_disk(tmp_path)), arrays()
    assert dict(zip(data.slides["slide_id"], data.slides["patient_id"], strict=True)) == owners
    assert data.patients["set"].to_dict() == sets and data.rna_patients == sorted(rna)
    assert np.array_equal(data.bags.bag("S03a", 9, 0, 0), in_memory().bags.bag("S03a", 9, 0, 0))
    train = [i for i, p in enumerate(data.rna_patients) if sets[p] == "train"]
    assert np.allclose(data.rna[train].mean(0), 0, atol=1e-5) and np.allclose(data.rna[train].std(0), 1, atol=1e-4)
    pairs = data.pairs(data.members("train"))
    assert len(pairs) == 12 and [data.rna_patients[i] for i in pairs.rna] == pairs.patients


def test_either_modality_may_be_absent(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    slides = load(job, expression=None, transform=None)
    assert slides.rna.shape == (0, 0) and len(slides.bags.slides) == 16
    rna = load(job, slides=None, features_dir=None)
    assert rna.bags is None and rna.rna.shape == (16, 30) and rna.feature_width == 0


def test_slides_that_failed_to_embed_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = on_disk(tmp_path)
    (Path(job.features_dir) / "S05a.h5").unlink()
    with pytest.raises(InputError, match="S05a"):
        load(job)
    status = pd.DataFrame({"slide_id": [f"S{i:02d}a" for i in range(16)], "status": "ok"})
    status.loc[5, "status"] = "failed"
    status.to_csv(tmp_path / "shard_0.tsv", sep="\t", index=False)
    data = load(job, feature_status=[tmp_path / "shard_0.tsv"])
    assert "S05a" not in set(data.slides["slide_id"]) and "1 of 16 slides" in caplog.text
    assert data.unpaired(data.members("train"))[1].tolist() == [5], "the patient's RNA is still there"


def test_a_transform_that_saw_other_patients_is_refused(tmp_path: Path) -> None:
    import anndata

    job = on_disk(tmp_path)
    adata = anndata.read_h5ad(job.expression)
    everyone = list(adata.obs_names)
    fit_transform(adata, everyone, list(adata.var_names), RnaSettings()).save(job.transform)
    with pytest.raises(InputError, match="4 patients outside the training set of fold r0f0"):
        load(job)


def test_folds_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "splits.tsv"
    table = pd.DataFrame({"patient_id": ["NA", "007", "x"], "repeat": 0, "fold": 3, "set": ["train", "test", "train"]})
    table.to_csv(path, sep="\t", index=False)
    assert read_fold(path, "r0f3") == {"NA": "train", "007": "test", "x": "train"}
    with pytest.raises(InputError, match="no fold r1f3"):
        read_fold(path, "r1f3")
    pd.concat([table, table.head(1).assign(set="test")]).to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match=r"splits.tsv \(NA\).*more than once"):
        read_fold(path, "r0f3")
    table.drop(columns="set").to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match="no column set"):
        read_fold(path, "r0f3")


def test_the_watched_split_is_by_patient_and_seeded() -> None:
    data = in_memory(40, per_patient=3)
    validation = data.validation_patients(0.2, 1)
    assert len(validation) == 6 and set(validation) <= set(data.members("train"))
    assert validation == data.validation_patients(0.2, 1) != data.validation_patients(0.2, 2)
    assert data.validation_patients(0.0, 1) == []
    assert len(data.pairs(validation)) == 18


def test_the_digest_follows_the_data(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    first = load(job).digest()
    assert first == load(job).digest()
    people = pd.read_csv(job.splits, sep="\t")
    people.loc[0, "set"] = "test"
    people.to_csv(job.splits, sep="\t", index=False)
    with pytest.raises(InputError, match="outside the training set"):
        load(job)
    people.loc[0, "set"], people.loc[15, "set"] = "train", "train"
    people.to_csv(job.splits, sep="\t", index=False)
    assert load(job).digest() != first


@given(
    st.integers(2, 70), st.integers(0, 9), st.integers(0, 40), st.integers(2, 20), st.sampled_from([1, 2, 3]),
    st.integers(0, 99),
)  # fmt: skip
def test_plans_visit_every_pair_once(pairs: int, slides: int, rna: int, size: int, world: int, epoch: int) -> None:
    if pairs < world:
        return
    names = [f"s{i}" for i in range(slides)]
    plans = [EpochPlan(pairs, names, np.arange(rna), size, 5, rank, world) for rank in range(world)]
    visits = [plan.visits(epoch) for plan in plans]
    assert len({len(v) for v in visits}) == 1 and len(visits[0]) >= 1
    seen = np.concatenate([v.pairs for rank in visits for v in rank])
    assert len(set(seen.tolist())) == len(seen) and len(seen) > pairs - max(2, world)
    for step in zip(*visits, strict=True):
        assert len({(len(v.pairs), len(v.slides), len(v.rna)) for v in step}) == 1, "ranks do equal work"
        assert sum(len(v.pairs) for v in step) >= 2
    loose = [s for rank in visits for v in rank for s in v.slides]
    assert len(set(loose)) == len(loose)


def test_retrieval_counts_by_patient() -> None:
    eye = np.eye(12)
    perfect = retrieval(eye, eye, [str(i) for i in range(12)], [str(i) for i in range(12)])
    assert all(v == 1.0 for v in perfect.values())
    same = retrieval(np.ones((12, 3)), np.ones((12, 3)), [str(i) for i in range(12)], [str(i) for i in range(12)])
    assert same["recall_at_10_slide_to_rna"] == 0.0 and same["median_rank_rna_to_slide"] == 12.0, "ties do not count"
    # Patient b has two slides, one good: RNA finds the good one; the bad one finds RNA of a.
    slide = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    found = retrieval(slide, np.eye(2), ["a", "b", "b"], ["a", "b"])
    assert found["recall_at_1_slide_to_rna"] == pytest.approx(2 / 3)
    assert found["recall_at_1_rna_to_slide"] == 1.0


def test_spread_sees_collapse_whatever_the_length() -> None:
    x = torch.randn(64, 8)
    assert float(spread(x)) > 0.9 and float(spread(x * 1e-6)) == pytest.approx(float(spread(x)), abs=1e-5)
    assert float(spread(torch.ones(64, 8) * 5 + 1e-6 * x)) < 1e-6
    alarm = CollapseAlarm()
    assert alarm.check(1, {"spread_wsi": 0.5, "spread_rna": 0.5}) == []
    assert alarm.check(2, {"spread_wsi": 0.005, "spread_rna": 0.4}) == ["wsi"]
    assert alarm.check(3, {"spread_wsi": 0.005, "spread_rna": 0.4}) == [], "told once"


def test_means_weigh_by_samples() -> None:
    means = Means()
    means.add({"a": torch.tensor(1.0)}, 3)
    means.add({"a": torch.tensor(5.0), "b": torch.tensor(2.0)}, 1)
    assert means.result() == {"a": 2.0, "b": 2.0}
    again = Means()
    again.restore(means.state(), torch.device("cpu"))
    again.add({"a": torch.tensor(2.0)}, 4)
    assert again.result()["a"] == 2.0


def test_the_growing_log_matches_the_declared_one(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "live.tsv")
    log.add([{"epoch": 1, "split": "train", "total": 1.5, "lr": 0.1}])
    log.add(
        [{"epoch": 2, "split": "train", "total": 1.25, "lr": 0.1}, {"epoch": 2, "split": "validation", "total": 2.0}]
    )
    log.add([{"epoch": 3, "split": "train", "total": 1.0, "recall": 0.5, "lr": 0.1}])
    log.write(tmp_path / "log.tsv")
    assert (tmp_path / "live.tsv").read_text() == (tmp_path / "log.tsv").read_text()
    assert pd.read_csv(tmp_path / "log.tsv", sep="\t")["epoch"].tolist() == [1, 2, 2, 3]
