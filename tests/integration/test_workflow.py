"""The real workflow, small: it finishes, it caches, and it reruns what a change touches and nothing else."""

from __future__ import annotations

import json
import shutil

import anndata
import h5py
import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.slow

SLIDES = {"simulate_cohort", "tile_slides", "embed_tiles"}
TRAINING = {"pretrain_mirror", "encode_cohort", "select_genes"}


BEFORE_OUTCOMES = SLIDES | TRAINING | {
    "read_clinical", "build_cohort", "make_splits", "audit_leaks", "audit_models", "read_expression",
    "normalize_expression", "join_tiles", "join_features",
}  # fmt: skip


def changed(finished, tmp_path, change):
    """The finished run under a configuration with one change."""
    config = yaml.safe_load(finished.config.read_text())
    change(config)
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(config))
    return type(finished)(finished.root, finished.folder, file)


def test_outputs_are_whole_and_say_what_they_are(finished):
    results = finished.folder / "results"
    metrics = pd.read_csv(results / "metrics.tsv", sep="\t")
    assert {"subtyping", "survival"} == set(metrics["task"]) - {"retrieval", "truth"}
    assert {"mirror", "align", "rna_logistic", "rna_cox", "slide_mean"} <= set(metrics["method"])
    assert metrics["value"].notna().all()
    leaks = json.loads((results / "cohort/T/cv2/leaks.json").read_text())
    assert leaks["passed"]
    one = next((results / "slides/features/demo-random").glob("*.h5"))
    with h5py.File(one) as file:
        assert file["features"].shape[0] == file["coords"].shape[0] > 0
    embeddings = anndata.read_h5ad(results / "embeddings/T/demo-random/cv2/mirror/r0f0.h5ad")
    assert {"X_wsi", "X_rna", "X_fused", "X_style"} <= set(embeddings.obsm)
    assert set(embeddings.obs["set"]) == {"train", "test"}
    page = (results / "report.html").read_text()
    assert "random weights" in page or "untrained" in page
    assert not list(results.rglob("*.part*"))


def test_patients_are_tested_exactly_once(finished):
    splits = pd.read_csv(finished.folder / "results/cohort/T/cv2/splits.tsv", sep="\t")
    assert (splits[splits["set"] == "test"]["patient_id"].value_counts() == 1).all()
    for file in (finished.folder / "results/predictions").rglob("*.parquet"):
        rows = pd.read_parquet(file)
        merged = rows.merge(splits, on=["patient_id", "repeat", "fold"])
        assert len(merged) == len(rows)
        assert (merged["set"] == "test").all(), file


def test_nothing_changed_means_nothing_to_do(finished):
    assert finished.planned() == {}


def test_an_evaluation_option_reruns_no_slide_and_no_training(finished, tmp_path):
    jobs = changed(finished, tmp_path, lambda c: c["evaluation"].update(protocols=["linear", "fewshot"])).planned()
    assert jobs["evaluate_embeddings"] == 4
    assert not (SLIDES | TRAINING) & set(jobs)


def test_a_new_target_is_read_and_predicted_and_nothing_is_trained(finished, tmp_path):
    targets = {"years": {"kind": "number", "column": "age"}}
    jobs = changed(finished, tmp_path, lambda c: c["cohorts"]["T"].update(targets=targets)).planned()
    assert not BEFORE_OUTCOMES & set(jobs), jobs
    read = {name: jobs[name] for name in ("read_target", "evaluate_embeddings", "evaluate_baseline", "plot_number")}
    assert read == {"read_target": 1, "evaluate_embeddings": 2, "evaluate_baseline": 1, "plot_number": 1}


def test_a_target_that_is_left_out_takes_nothing_else_with_it(finished, tmp_path):
    jobs = changed(finished, tmp_path, lambda c: c["evaluation"].update(tasks=["subtyping"])).planned()
    assert not (BEFORE_OUTCOMES | {"read_target", "evaluate_embeddings", "evaluate_baseline"}) & set(jobs), jobs
    assert "compute_metrics" in jobs


def test_a_changed_target_reruns_what_reads_it_alone(finished):
    """Folds stay as they were drawn; genes are chosen anew only where their selection names the target."""
    survival = finished.planned("--forcerun", "results/cohort/T/targets/survival.tsv")
    assert not BEFORE_OUTCOMES & set(survival) and survival["evaluate_embeddings"] == 2, survival
    labels = finished.planned("--forcerun", "results/cohort/T/targets/subtyping.tsv")
    assert "select_genes" in labels and "make_splits" not in labels and "build_cohort" not in labels


def test_patients_and_embeddings_hold_no_outcome(finished):
    results = finished.folder / "results"
    outcomes = {"label", "time_days", "event"}
    patients = pd.read_csv(results / "cohort/T/patients.tsv", sep="\t")
    embeddings = anndata.read_h5ad(results / "embeddings/T/demo-random/cv2/mirror/r0f0.h5ad")
    assert not outcomes & {*patients, *embeddings.obs}
    survival = pd.read_csv(results / "cohort/T/targets/survival.tsv", sep="\t")
    assert survival["patient_id"].tolist() == patients["patient_id"].tolist() and survival["event"].isin([0, 1]).all()


def test_bootstrap_reruns_metrics_and_no_probe(finished, tmp_path):
    jobs = changed(finished, tmp_path, lambda c: c["evaluation"]["statistics"].update(bootstrap=60)).planned()
    assert "compute_metrics" in jobs
    assert not (SLIDES | TRAINING | {"evaluate_embeddings", "evaluate_baseline"}) & set(jobs)


def test_a_new_variant_trains_itself_alone(finished, tmp_path):
    jobs = changed(finished, tmp_path, lambda c: c["variants"].update(no_style={})).planned()
    assert jobs["pretrain_mirror"] == 2
    assert not (SLIDES | {"select_genes"}) & set(jobs)


def test_a_tiling_option_reruns_tiling(finished, tmp_path):
    jobs = changed(finished, tmp_path, lambda c: c["slides"].update(tile={"size_px": 224})).planned()
    assert jobs["tile_slides"] == 2
    assert "simulate_cohort" not in jobs
    assert "read_expression" not in jobs


def test_file_times_of_a_fresh_clone_rerun_nothing(finished):
    for file in (*finished.root.glob("workflow/scripts/*.py"), finished.root / "config" / "encoders.yaml"):
        file.touch()
    assert finished.planned() == {}


def test_a_changed_library_file_reruns_the_steps_that_use_it(finished, tmp_path):
    """The workflow at a newer commit, over the results of an older one."""
    theirs = {"all", "make_tables", "make_report"}  # these read a file of the clone, which lies elsewhere now
    newer = tmp_path / "newer"
    for name in ("config", "profiles", "rules", "workflow", "envs"):
        shutil.copytree(finished.root / name, newer / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(finished.root / "Snakefile", newer)
    file = newer / "workflow/scripts/mirror/report/figures/cohort.py"
    file.write_text(file.read_text() + "\n\n# A comment changes nothing.\n")
    workflow = type(finished)(newer, finished.folder, finished.config)
    assert set(workflow.planned()) <= theirs
    file.write_text(file.read_text() + "\n\nNEW_CODE = 1\n")
    jobs = set(workflow.planned()) - theirs
    assert jobs >= {"plot_cohort", "plot_slides"} and all(job.startswith("plot_") for job in jobs), jobs


def test_a_batch_plans_its_share_of_the_shards(finished, tmp_path):
    fresh = type(finished)(finished.root, tmp_path / "fresh", finished.config)
    jobs = fresh.planned("--batch", "join_features=1/2")
    assert jobs["embed_tiles"] == 1 and not TRAINING & set(jobs)
    assert finished.planned("--batch", "join_features=2/2") == {}


def test_a_mistyped_key_stops_before_anything_runs(finished, tmp_path):
    def mistype(config):
        config["evalution"] = config.pop("evaluation")

    said = changed(finished, tmp_path, mistype).run("--dry-run", ok=False)
    assert "did you mean `evaluation`" in said


def test_rulegraph_and_lint_work(finished):
    assert "digraph" in finished.run("--rulegraph")
    assert "Congratulations" in finished.run("--lint")
