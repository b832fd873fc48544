"""The benchmark of what leaks are worth: what it turns on is what it says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def bench(root: Path):
    spec = importlib.util.spec_from_file_location("leak_price", root / "benchmarks/leak_price.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["leak_price"] = module
    spec.loader.exec_module(module)
    return module


def test_folds_leak_only_when_asked(bench) -> None:
    data = bench.simulate(60, 100, 1.0, seed=0)
    for train, test in bench.fold_rows(data, by_slide=False, seed=0):
        assert not set(data.patient[train]) & set(data.patient[test])
    shared = [len(set(data.patient[a]) & set(data.patient[b])) for a, b in bench.fold_rows(data, by_slide=True, seed=0)]
    assert min(shared) > 0


def test_noise_is_noise(bench) -> None:
    """Permuting deals outcomes to other patients, together, and changes nothing else."""
    data = bench.simulate(60, 100, 1.0, seed=0)
    noise = bench.permute(data, 0)
    assert noise.rna is data.rna and (noise.label != data.label).any()
    outcomes = [sorted(zip(d.label, d.time, d.event, strict=True)) for d in (data, noise)]
    assert outcomes[0] == outcomes[1]


def test_epoch_chooser_agrees_with_the_libraries(bench) -> None:
    data = bench.simulate(50, 100, 0.8, seed=3)
    rows = np.arange(len(data.patient))
    values = np.random.default_rng(0).normal(size=(7, len(rows)))
    for task, metric in (("subtyping", "auroc"), ("survival", "c_index")):
        known = [bench.scores(data, task, v, rows)[metric] for v in values]
        assert bench.best_epoch(data, task, values, rows) == int(np.argmax(known))


def test_leaks_inflate_on_noise(bench) -> None:
    noise = bench.permute(bench.simulate(100, 800, 1.0, seed=1), 1)
    found = bench.run_seed(noise, epochs=15, seed=1)
    honest = found["honest"]
    assert abs(honest["auroc"] - 0.5) < 0.2
    assert found["genes_all"]["auroc"] > honest["auroc"] + 0.1
    assert found["slide_folds"]["auroc"] > honest["auroc"] + 0.1
    assert found["epoch_on_test"]["auroc"] >= honest["auroc"]
    assert {m: found["cohort_bins"][m] for m in ("auroc", "accuracy")} == {m: honest[m] for m in ("auroc", "accuracy")}
    row = bench.summarise([found, found], "genes_all")
    assert row["auroc_ci"] == [row["auroc"]] * 2 and row["honest"]["auroc"] == pytest.approx(honest["auroc"], abs=1e-3)


def test_real_files_are_read(bench, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rna = pd.DataFrame(rng.normal(size=(30, 4)), columns=list("abcd"))
    rna.insert(0, "patient_id", [f"P{i % 20}" for i in range(30)])
    about = pd.DataFrame({"patient_id": [f"P{i}" for i in range(20)], "label": ["x"] * 12 + ["y"] * 6 + ["z"] * 2})
    about["time_days"], about["event"] = 100.0, 1
    rna.to_csv(tmp_path / "rna.csv", index=False)
    about.to_csv(tmp_path / "clinical.csv", index=False)
    data = bench.read_real(tmp_path / "rna.csv", tmp_path / "clinical.csv")
    assert data.rna.shape == (18, 4) and data.label.sum() == 6 and len(data.patient) == 18 + 10
