"""Every benchmark explains itself, and those whose figures are promised end with the JSON that is promised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py"))


def run(script: str, *arguments: str) -> str:
    """What a benchmark prints."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_is_measured(script):
    said = run(script, "--help")
    assert said.startswith("usage:") and "JSON" in said and len(said) > 300


def test_a_step_of_pretraining(tmp_path):
    """Sizes where the reference point is slower already, so that a swap of names would be seen."""
    sizes = ["--batch", "2", "--tokens", "600", "--dim", "96", "--width", "32", "--genes", "50"]
    found = json.loads(run("pretrain_step.py", *sizes, "--steps", "2", "--rounds", "1").splitlines()[-1])
    names = [f"{kind}_{unit}" for unit in ("s", "mb") for kind in ("reference", "nystrom", "exact")]
    assert set(names) <= found.keys()
    assert all(isinstance(found[name], int | float) and found[name] > 0 for name in names)
    assert all(found[name] > 100 for name in names if name.endswith("mb")), "megabytes of a whole process"


def test_recovery_of_the_truth():
    small = ["--seeds", "2", "--pairs", "60", "--tiles", "8", "--epochs", "1"]
    found = json.loads(run("truth_recovery.py", *small, "--variants", "align", "mirror", "mirror_plus")
                       .splitlines()[-1])  # fmt: skip
    for variant in ("align", "mirror", "mirror_plus", "input"):
        for metric in ("slide_shared", "slide_own", "rna_shared", "rna_own"):
            low, high = found[variant][f"{metric}_ci"]
            assert low <= found[variant][metric] <= high
        assert ("recall_at_5" in found[variant]) is (variant != "input")


def test_calibration_of_intervals_and_tests():
    """Two repeats of the null and of the gene sets: figures of six names, shares of repeats."""
    said = run("calibration.py", "--quick", "--repeats", "2", "--jobs", "1", "--scenarios", "null", "gene sets")
    found = json.loads(said.splitlines()[-1])
    names = {"coverage_auroc", "coverage_c", "fpr_paired", "fpr_logrank", "fpr_gene_sets", "fpr_fewshot"}
    assert set(found) == names | {"repeats"} and found.pop("repeats") == 2
    assert all(0 <= value <= 1 for value in found.values())
    assert found["fpr_gene_sets"] <= 0.25, "of 80 random sets"
