"""Zero-shot transfer in the real workflow: two halves of the tiny cohort, one patient in both."""

from __future__ import annotations

import json
import re
import shutil

import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.slow

WIDTH = 448  # of the tiny run's patch features
KEPT = ("seed", "rna", "splits", "pretrain")


@pytest.fixture(scope="module")
def halves(finished, tmp_path_factory):
    """The workflow over two cohorts read from files: patients 1 to 13 and 13 to 24, their features imported."""
    folder = tmp_path_factory.mktemp("transfer")
    made = finished.folder / "results"
    table = pd.read_csv(made / "simulated/T/samples.tsv", sep="\t")
    table["slide_path"] = [str(finished.folder / p) for p in table["slide_path"]]
    patients = sorted(set(table["patient_id"]), key=lambda p: p.rsplit("-", 1)[1])
    clinical = {
        "path": str(made / "simulated/T/clinical.tsv"), "format": "table", "patient": "patient_id", "time": "os_days",
        "event": "os_event", "time_unit": "days", "event_is": "1_event", "site": "site",
    }  # fmt: skip
    cohorts = {}
    for name, own in (("A", patients[:13]), ("B", patients[12:])):
        some = table[table["patient_id"].isin(own)]
        some.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
        features = folder / f"features_{name}"
        features.mkdir()
        for slide in some["slide_id"]:
            shutil.copy(made / f"slides/features/demo-random/{slide}.h5", features)
        cohorts[name] = {
            "samples": str(folder / f"{name}.tsv"),
            "expression": {"path": str(made / "simulated/T/counts.tsv"), "format": "matrix", "values": "counts"},
            "clinical": clinical,
            "features": [{"format": "trident", "path": str(features), "width": WIDTH, "encoder": "enc"}],
        }
    base = yaml.safe_load(finished.config.read_text())
    config = {k: base[k] for k in KEPT} | {
        "cohorts": cohorts,
        "variants": {"mirror": {}},
        "interpretation": {"variants": []},
        "evaluation": {
            "tasks": ["survival"],
            "protocols": ["linear", "finetune"],
            "finetune": {"epochs": 1, "tokens": 4},
            "modalities": ["fused"],
            "baselines": [],
            "statistics": {"bootstrap": 50},
            "transfer": [{"source": "A", "target": "B"}],
        },
    }
    file = folder / "halves.yaml"
    file.write_text(yaml.safe_dump(config))
    workflow = type(finished)(finished.root, folder / "run", file)
    workflow.run()
    return workflow, patients


def test_nobody_of_both_cohorts_counts_and_everyone_else_does(halves):
    workflow, patients = halves
    results = workflow.folder / "results"
    rows = pd.read_parquet(results / "predictions/B/enc/cv2_from_A/survival/mirror.parquet")
    assert set(rows["patient_id"]) == set(patients[13:])
    assert set(rows["draw"]) == {0, 1} and set(rows["protocol"]) == {"transfer"}
    told = json.loads((results / "cohort/B/cv2_from_A/splits.json").read_text())
    assert list(told["left_out"]) == [patients[12]]
    for name in ("leaks_enc", "audit_predictions"):
        audit = json.loads((results / f"cohort/B/cv2_from_A/{name}.json").read_text())
        assert audit["passed"]
        kinds = {c["name"] for c in audit["checks"]}
        wanted = {"slide_duplicates", "scaling", "gene_selection", "pretraining"} if name == "leaks_enc" else {"probe"}
        assert wanted <= kinds


def test_fine_tuning_runs_in_the_workflow(halves):
    """Every test patient of either half has one risk by the fine-tuned model, and the table a row for it."""
    workflow, _ = halves
    results = workflow.folder / "results"
    for cohort, n in (("A", 13), ("B", 12)):
        rows = pd.read_parquet(results / f"predictions/{cohort}/enc/cv2/survival/mirror_finetune.parquet")
        assert len(rows) == rows["patient_id"].nunique() == n
        assert set(rows["protocol"]) == {"finetune"} and rows["risk"].notna().all()
    assert "mirror_finetune" in set(pd.read_csv(results / "tables/survival.csv")["method"])


def test_transfer_has_its_table_in_every_form_and_in_the_report(halves):
    workflow, _ = halves
    results = workflow.folder / "results"
    for form in ("csv", "md", "tex", "html"):
        assert "transfer" in (results / f"tables/transfer_cv2_from_A.{form}").read_text().lower() or form in (
            "csv",
            "html",
        )
    numbers = pd.read_csv(results / "tables/transfer_cv2_from_A.csv")
    assert {"c_index"} <= set(numbers["metric"]) and set(numbers["cohort"]) == {"B"}
    assert set(numbers["n"].str.split(" ").str[0]) == {"11"}
    page = (results / "report.html").read_text(encoding="utf-8")
    assert '<h2 id="transfer">' in page and "Zero-shot transfer of risk (A to B)" in page
    assert f"imported: enc ({WIDTH} wide, trident)" in re.sub(r"\s+", " ", page)
    assert "are in the source too and count nowhere" in page
    assert (results / "figures/B/enc/cv2_from_A/transfer_km.svg").stat().st_size > 2000
    assert "A to B (enc, cv2)" in page
    assert not (results / "tables/truth_recovery.csv").exists() and "truth-recovery" not in page, "nobody knows it"


def test_trace_of_a_transferred_cell_names_both_cohorts(halves):
    workflow, _ = halves
    said = workflow.run("trace", "--config", "cell=B/enc/cv2_from_A/mirror/survival/transfer/fused/c_index/cox")
    for words in ("Fold r0f0 (A)", "Fold r0f1 (B)", "models/A/enc/cv2/mirror/r0f1.safetensors (as recorded)",
                  "training patients in r0f1"):  # fmt: skip
        assert words in said


def test_too_few_genes_in_the_target_stop_the_run_and_are_named(halves, tmp_path):
    workflow, _ = halves
    config = yaml.safe_load(workflow.config.read_text())
    source = config["cohorts"]["B"]["expression"]
    counts = pd.read_csv(source["path"], sep="\t", index_col=0)
    genes = (workflow.folder / "results/rna/A/cv2/genes_r0f0.txt").read_text().split()
    counts.drop(index=genes[:2]).to_csv(tmp_path / "counts.tsv", sep="\t")
    source["path"] = str(tmp_path / "counts.tsv")
    file = tmp_path / "poor.yaml"
    file.write_text(yaml.safe_dump(config))
    copy = tmp_path / "run"
    shutil.copytree(workflow.folder, copy, symlinks=True)
    said = type(workflow)(workflow.root, copy, file).run("results/rna/B/cv2_from_A/matched.h5ad", ok=False)
    assert "genes that models of A read are not in B" in said
    assert genes[0] in said and genes[1] in said


def test_without_the_transfer_nothing_else_runs_again(halves, tmp_path):
    workflow, _ = halves
    config = yaml.safe_load(workflow.config.read_text())
    del config["evaluation"]["transfer"]
    file = tmp_path / "off.yaml"
    file.write_text(yaml.safe_dump(config))
    jobs = set(type(workflow)(workflow.root, workflow.folder, file).planned())
    after = {
        "compute_metrics",
        "make_tables",
        "make_report",
        "plot_summary",
        "plot_class",
        "plot_survival",
        "all",
    }
    assert "compute_metrics" in jobs
    assert jobs <= after, jobs - after
