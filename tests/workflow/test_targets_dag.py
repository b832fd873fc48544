"""Which jobs a target that is added or changed needs: on a results folder whose files are all there, and empty."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from dry_run import planned, snakemake
from rules import ROOT

TINY = ROOT / "tests" / "integration" / "tiny.yaml"
BEFORE_OUTCOMES = {
    "simulate_cohort", "tile_slides", "embed_tiles", "join_tiles", "join_features", "read_expression",
    "normalize_expression", "select_genes", "read_clinical", "build_cohort", "make_splits", "audit_leaks",
    "pretrain_mirror", "encode_cohort", "audit_models",
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A folder with every output of the tiny configuration, all of one age."""
    folder = tmp_path_factory.mktemp("done")
    for line in snakemake(folder, TINY, "--summary").splitlines()[1:]:
        file = folder / line.split("\t")[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (1_700_000_000, 1_700_000_000))
    return folder


def test_a_new_target_reruns_nothing_that_does_not_read_it(done, tmp_path):
    config = yaml.safe_load(TINY.read_text())
    config["cohorts"]["T"]["targets"] = {"years": {"kind": "number", "column": "age"}}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(config))
    jobs = planned(done, tmp_path / "more.yaml")
    assert not BEFORE_OUTCOMES & set(jobs), jobs
    assert (jobs["read_target"], jobs["evaluate_embeddings"], jobs["plot_number"]) == (1, 2, 1)


def test_more_shots_rerun_what_is_fitted_and_draw_a_curve_for_each_target(done, tmp_path):
    config = yaml.safe_load(TINY.read_text())
    config["evaluation"] |= {"protocols": ["linear", "fewshot"], "fewshot": {"k": [1, 3]}}
    (tmp_path / "shots.yaml").write_text(yaml.safe_dump(config))
    jobs = planned(done, tmp_path / "shots.yaml")
    assert not BEFORE_OUTCOMES & set(jobs) and jobs["plot_shots"] == 2, jobs


def test_a_changed_target_leaves_folds_and_models_as_they_are(done):
    jobs = planned(done, TINY, "--forcerun", "results/cohort/T/targets/survival.tsv")
    assert not BEFORE_OUTCOMES & set(jobs), jobs
    assert jobs["evaluate_embeddings"] == 2


def test_genes_are_chosen_anew_where_their_selection_names_the_target(done):
    jobs = planned(done, TINY, "--forcerun", "results/cohort/T/targets/subtyping.tsv")
    assert {"select_genes", "pretrain_mirror"} <= set(jobs) and "make_splits" not in jobs
