"""The doctor's counts of jobs are those of the DAG."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from mirror.config.resolve import load_yaml
from mirror.plan.plan import Plan
from mirror.plan.work import count_work
from rules import ROOT

KINDS = {
    "tiling": ["tile_slides"],
    "patch features": ["embed_tiles", "import_features"],
    "gene selection": ["select_genes"],
    "pre-training": ["pretrain_mirror"],
    "embedding of patients": ["encode_cohort"],
    "probes and baselines": ["evaluate_embeddings", "evaluate_baseline", "evaluate_finetune", "evaluate_ceiling"],
}


def test_counts_of_the_demo(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "-s", str(ROOT / "Snakefile"), "--cores", "1", "--quiet", "rules"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    counts = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.M)}
    assert counts.get("all") == 1, done.stdout + done.stderr
    work = count_work(Plan.read(load_yaml(ROOT / "config" / "config.yaml"), ROOT))
    for kind, names in KINDS.items():
        assert work.jobs[kind] == sum(counts.get(name, 0) for name in names), kind
