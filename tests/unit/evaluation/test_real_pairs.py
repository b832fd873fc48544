"""The benchmark on real pairs: any cohort of the form is read, and what it cannot have is null."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def real_pairs(monkeypatch):
    """The script as a module."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import real_pairs

    return real_pairs


def test_any_cohort_is_prepared(real_pairs, tmp_path):
    """Missing and infinite values take the column's median, columns without a value are left out."""
    features = pd.DataFrame(
        {"area": [1.0, 2.0, np.nan, np.inf], "empty": np.nan, "scale": [1e9, 2e9, 3e9, 4e9]},
        index=[f"TCGA-AA-000{i}" for i in range(4)],
    )
    (tmp_path / "pairs").mkdir()
    features.to_parquet(tmp_path / "pairs" / "kich_hif.parquet")
    section = real_pairs.prepare(tmp_path, tmp_path / "out", "kich")
    assert section["features"][0]["width"] == 2
    samples = pd.read_csv(section["samples"], sep="\t")
    bags = [
        torch.load(tmp_path / "out" / "features" / "kich" / f"{s}.pt", weights_only=True) for s in samples["slide_id"]
    ]
    assert torch.equal(torch.cat(bags), torch.tensor([[1, 1e9], [2, 2e9], [1.5, 3e9], [1.5, 4e9]]))
    assert samples["patient_id"].tolist() == list(features.index)


def test_models_and_baselines_read_the_same_input(real_pairs, tmp_path):
    arguments = argparse.Namespace(
        quick=True, seed=1, cohorts=[], folds=2, width=16, epochs=1, variants=["align", "mirror_plus"]
    )
    found = real_pairs.configuration(tmp_path, tmp_path, arguments)
    scaling = found["pretrain"]["model"]["input_scaling"]
    assert found["evaluation"]["baseline"]["slide_scaling"] == scaling == "ranks"


def test_a_cohort_of_one_label_has_survival_alone(real_pairs):
    """Means over folds; the pooled row and other survival heads do not count; every method is named."""
    rows = [
        {"cohort": "KICH", "method": method, "modality": modality, "protocol": protocol, "task": task, "head": head,
         "metric": metric, "fold": fold, "value": value}
        for method, modality, protocol, task, head, metric, values in (
            ("mirror_plus", "fused", "linear", "survival", "cox", "c_index", {"r0f0": 0.6, "r0f1": 0.7, "pooled": 0.1}),
            ("mirror_plus", "fused", "linear", "survival", "discrete", "c_index", {"r0f0": 0.1}),
            ("mirror_plus", "wsi", "linear", "survival", "cox", "c_index", {"r0f0": 0.55}),
            ("mirror_plus", "wsi_to_rna", "zeroshot", "retrieval", "inner_product", "recall_at_10", {"r0f0": 0.4}),
            ("mirror_plus", "rna_to_wsi", "zeroshot", "retrieval", "inner_product", "recall_at_10", {"r0f0": 0.9}),
            ("rna_cox", "rna", "supervised", "survival", "elastic_cox", "c_index", {"r0f0": 0.5}),
        )
        for fold, value in values.items()
    ]  # fmt: skip
    found = real_pairs.collect(pd.DataFrame(rows), "KICH", ["mirror_plus"])
    assert found["mirror_plus"] == dict.fromkeys(real_pairs.METRICS) | {"c_index": 0.65, "recall_at_10": 0.4}
    assert found["mirror_plus_wsi"]["c_index"] == 0.55
    assert found["rna_cox"]["c_index"] == 0.5
    assert set(found["rna_logistic"].values()) == {None}
    assert set(found) == {*real_pairs.BASELINES, "mirror_plus", "mirror_plus_wsi", "mirror_plus_rna"}
