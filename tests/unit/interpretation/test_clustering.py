"""Style clusters over folds: what is measured, and what is called a collapse."""

from __future__ import annotations

import json
import logging

import anndata
import numpy as np
import pandas as pd
import pytest

from mirror.interpretation.clustering import COLUMNS, FoldStyle, measure, read_fold
from mirror.interpretation.prototypes import FoldScores

N, K, FOLDS = 120, 5, 3
PEOPLE = [f"P{i:03d}" for i in range(N)]


def world(agree=0.8, seed=0):
    """A kind of tumour per patient, scored by both modalities; each fold names its prototypes anew."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, K, N)
    folds = []
    for fold in range(FOLDS):
        names = rng.permutation(K)
        scores = []
        for _ in ("slide", "rna"):
            won = np.where(rng.random(N) < agree, kind, rng.integers(0, K, N))
            scores.append(pd.DataFrame(2 * np.eye(K)[names[won]] + 0.1 * rng.normal(size=(N, K)), index=PEOPLE))
        sets = pd.Series(np.where(np.arange(N) % FOLDS == fold, "test", "train"), index=PEOPLE)
        people = pd.Series(PEOPLE, index=PEOPLE)
        tested = set(sets.index[sets == "test"])
        folds.append(FoldStyle(FoldScores(f"r0f{fold}", scores[0], people, sets), scores[1], tested))
    return kind, folds


def outcomes(kind):
    return pd.DataFrame(
        {"label": np.where(kind < 2, "A", "B"), "time_days": 400.0 + 10 * kind, "event": np.arange(N) % 2}, index=PEOPLE
    )


def test_clusters_that_are_there_are_found():
    kind, folds = world()
    rng = np.random.default_rng(1)
    genes = pd.DataFrame(rng.normal(size=(N, 40)), index=PEOPLE, columns=[f"G{i}" for i in range(40)])
    for k in range(K):
        genes.iloc[:, 8 * k : 8 * k + 8] += 2.0 * (kind == k)[:, None]
    sets = {f"S{k}": np.arange(40) // 8 == k for k in range(K)}
    row, table = measure("v", folds, outcomes(kind), genes, sets, permutations=199, seed=0)
    assert list(row) == COLUMNS
    assert row["perplexity"] > 4.5
    assert row["agreement"] == pytest.approx(0.8**2 + (1 - 0.8**2) / K, abs=0.1)
    assert row["agreement_chance"] == pytest.approx(1 / K, abs=0.02)
    assert row["agreement_p"] == pytest.approx(1 / 200)
    assert 0.3 < row["stability_ari"] < 0.8
    assert (row["used"], row["prototypes"], row["patients"]) == (K, K, N)
    assert row["label_nmi"] > 0.15
    assert row["labels_fdr05"] >= 0.6
    assert row["sets_fdr05"] >= 0.6
    assert row["collapsed"] is False
    assert len(table) == K
    assert (table["variant"] == "v").all()
    # Each prototype goes with the genes of its own kind.
    assert table["gene_set"].nunique() >= K - 1


def test_noise_is_no_cluster():
    kind, folds = world(agree=0.0)
    row, _ = measure("v", folds, outcomes(kind), None, {}, permutations=199, seed=0)
    assert row["agreement_p"] > 0.01
    assert abs(row["stability_ari"]) < 0.05
    assert row["labels_fdr05"] == 0
    assert np.isnan(row["sets_fdr05"])


def test_a_collapse_is_named(caplog):
    kind, folds = world()
    flat = []
    for fold in folds:
        table = fold.slides.table * 0.01
        table[3] += 1
        slides = FoldScores(fold.slides.fold, table, fold.slides.patients, fold.slides.sets)
        flat.append(FoldStyle(slides, fold.rna * 0.01 + np.eye(K)[3], fold.test))
    with caplog.at_level(logging.WARNING):
        row, _ = measure("v", flat, outcomes(kind), None, {}, permutations=99, seed=0)
    assert row["collapsed"] is True
    assert row["perplexity"] == pytest.approx(1)
    assert (row["agreement"], row["agreement_chance"], row["agreement_p"]) == (1.0, 1.0, 1.0)
    assert row["stability_ari"] == 0
    assert "COLLAPSED" in caplog.text


def test_a_model_without_style_is_left_out(tmp_path):
    obs = pd.DataFrame(
        {"patient_id": ["a", "b", "c"], "slide_id": ["s1", "", "s3"], "set": ["train", "test", "test"]},
        index=["s1", "patient:b", "s3"],
    )
    data = anndata.AnnData(np.zeros((3, 2), np.float32), obs=obs)
    data.obsm["X_prototypes_wsi"] = np.array([[1, 0], [np.nan, np.nan], [0, 1]])
    data.obsm["X_prototypes_rna"] = np.array([[1, 0], [0, 1], [np.nan, np.nan]])
    for trained in (True, False):
        data.uns["mirror"] = json.dumps({"style_trained": trained})
        data.write_h5ad(tmp_path / "f.h5ad")
        read = read_fold("r0f0", tmp_path / "f.h5ad")
        if not trained:
            assert read is None
            continue
        assert list(read.slides.table.index) == ["s1", "s3"]
        assert list(read.rna.index) == ["a", "b"]
        assert read.test == {"b", "c"}
        assert read.won("rna").to_dict() == {"a": 0, "b": 1}
