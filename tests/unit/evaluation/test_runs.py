"""Whole evaluations: embeddings to predictions to metrics, on a small cohort with a known signal."""

from __future__ import annotations

import runpy

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from mirror.config.evaluation import EvaluationSettings
from mirror.core.errors import InputError
from mirror.evaluation.embeddings import evaluate_embeddings
from mirror.evaluation.retrieval import evaluate_retrieval
from mirror.evaluation.score import compute_metrics, score_predictions
from mirror.evaluation.uncertainty import centre
from mirror.io.embeddings import average_by_patient, load_fold
from mirror.io.predictions import COLUMNS, Names, read_predictions, stamp, write_predictions
from mirror.io.splits import iterate_folds
from mirror.metrics.names import WITHOUT_INTERVAL
from mirror.metrics.retrieval import partner_ranks
from mirror.metrics.survival import logrank
from mirror.report.figures.survival import kaplan_meier
from mirror.targets.classes import subtyping_rows
from mirror.targets.survival import survival_rows

NAMES = Names("sim", "enc", "cv5", "mirror")
QUICK = EvaluationSettings(
    modalities=["fused"],
    probe={"C": [0.01, 0.1], "inner_folds": 3},
    fewshot={"draws": 2},
    statistics={"bootstrap": 100},
)


@pytest.fixture(scope="module")
def results(evaluation_cohort):
    """Predictions of both tasks."""
    patients, _, splits, files = evaluation_cohort
    return {
        task: evaluate_embeddings(files, patients, splits, task, NAMES, QUICK, 42) for task in ("subtyping", "survival")
    }


def test_every_patient_is_predicted_once_from_other_patients(evaluation_cohort, results):
    """One row per patient, protocol, head and draw; none of a fold's test patients was seen in it."""
    patients, _, splits, _ = evaluation_cohort
    for task, result in results.items():
        rows = result.rows
        assert list(rows.columns) and set(COLUMNS[task]) <= set(rows.columns)
        keys = ["protocol", "head", "draw", "patient_id"]
        assert not rows.duplicated(keys).any()
        assert (rows.groupby(keys[:3])["patient_id"].nunique() == len(patients)).all()
        for fold in iterate_folds(splits):
            seen = result.metadata["patients"][fold.name]["train"]
            assert set(seen) == set(fold.train) and not set(seen) & set(fold.test)


def test_the_signal_is_found(evaluation_cohort, results):
    """Label and hazard follow the embeddings: AUROC and C-index are well above one half."""
    patients, _, splits, _ = evaluation_cohort
    frames = {task: result.rows for task, result in results.items()}
    table = score_predictions(frames, {"sim": patients}, {("sim", "cv5"): splits}, QUICK).metrics
    pooled = table[(table["fold"] == "pooled") & (table["protocol"] == "linear")].set_index(["metric", "head"])["value"]
    assert pooled["auroc", "logistic"] > 0.85
    assert pooled["c_index", "cox"] > 0.65 and pooled["c_index", "discrete"] > 0.65
    assert pooled["ibs", "cox"] < 0.25
    assert "logrank_p" not in set(table["metric"])  # its nominal value is too small for cross-validated groups


def test_test_patients_cannot_change_their_fold(evaluation_cohort, results, tmp_path):
    """Another label, time and event for one test patient leaves every prediction of its fold as it was."""
    patients, _, splits, files = evaluation_cohort
    victim = splits[(splits["fold"] == 0) & (splits["set"] == "test")]["patient_id"].iloc[0]
    changed = patients.copy()
    changed.loc[victim, ["label", "time_days", "event"]] = ["LUAD", 9999.0, 1 - patients.loc[victim, "event"]]
    one = splits[splits["fold"] == 0]
    settings = QUICK.model_copy(update={"protocols": ["linear"]})
    for task, column in (("subtyping", "probabilities"), ("survival", "risk")):
        before = results[task].rows.query("fold == 0 and protocol == 'linear'")
        after = evaluate_embeddings(files[:1], changed, one, task, NAMES, settings, 42).rows
        assert np.array_equal(np.stack(list(before[column])), np.stack(list(after[column])))


def test_predictions_survive_the_file(results, tmp_path):
    """Every column and the provenance come back."""
    for task, result in results.items():
        path = tmp_path / f"{task}.parquet"
        write_predictions(path, result.rows, task, result.metadata)
        rows, metadata = read_predictions(path)
        assert list(rows.columns) == COLUMNS[task] and len(rows) == len(result.rows)
        assert metadata["patients"] == result.metadata["patients"]
        assert len(metadata["sources"]) == 5 and len(metadata["sources"][0]["sha256"]) == 64


def test_metrics_have_no_nan_and_intervals_hold_their_value(evaluation_cohort, results):
    """Per fold and pooled; the pooled rows carry intervals, patients and events."""
    patients, _, splits, _ = evaluation_cohort
    frames = {task: result.rows for task, result in results.items()}
    tables = score_predictions(frames, {"sim": patients}, {("sim", "cv5"): splits}, QUICK)
    table = tables.metrics
    assert table["value"].notna().all() and (table["n"] > 0).all()
    pooled = table[(table["fold"] == "pooled") & ~table["metric"].isin(WITHOUT_INTERVAL)]
    assert ((pooled["ci_low"] <= pooled["value"]) & (pooled["value"] <= pooled["ci_high"])).all()
    survival = table[table["task"] == "survival"]
    assert survival["events"].notna().all() and (pooled["n"] == len(patients)).all()
    assert set(tables.notes["reason"].map(type)) <= {str}


def test_comparisons_of_methods_on_the_same_patients(evaluation_cohort, results):
    """A method is compared with a worse copy of itself; p, Holm and the runner-up are filled."""
    _, _, splits, _ = evaluation_cohort
    rows = results["subtyping"].rows.query("protocol == 'linear'")
    worse = rows.assign(method="worse")
    rng = np.random.default_rng(0)
    worse["probabilities"] = [np.array([q, 1 - q]) for q in rng.random(len(worse))]
    both = pd.concat([rows, worse], ignore_index=True)
    found = score_predictions({"subtyping": both}, {}, {("sim", "cv5"): splits}, QUICK).comparisons
    best = found[(found["metric"] == "auroc") & (found["test"] == "bootstrap")].iloc[0]
    assert best["method_a"] == "mirror" and best["method_b"] == "worse" and best["significant_vs_runner_up"]
    assert best["p"] <= best["p_holm"] < 0.05 and best["ci_low"] > 0
    assert set(found["test"]) == {"bootstrap", "corrected_t"}
    assert best["in_family"] and 0 < best["smallest_difference"] < 1
    assert found.loc[found["metric"] != "auroc", "p_holm"].isna().all()  # one primary metric, one family


def test_repeated_folds_corrected_t_and_holm_by_hand():
    """Six folds of two repeats: differences of accuracy, their corrected t, Holm over the table."""
    rng = np.random.default_rng(5)
    names = [f"P{i:02d}" for i in range(30)]
    truth = np.array(["a", "b"] * 15)
    rows, splits = [], []
    for repeat in range(2):
        fold_of = rng.permutation(30) % 3
        for fold in range(3):
            splits.append(pd.DataFrame({"patient_id": names, "repeat": repeat, "fold": fold,
                                        "set": np.where(fold_of == fold, "test", "train")}))  # fmt: skip
            for method, right in (("one", 0.9), ("two", 0.7), ("three", 0.5)):
                at = np.flatnonzero(fold_of == fold)
                said = np.where(rng.random(len(at)) < right, truth[at] == "b", truth[at] != "b")
                p = 0.5 + np.where(said, 1, -1) * rng.uniform(0.1, 0.4, len(at))
                part = subtyping_rows([names[i] for i in at], truth[at], ["a", "b"], np.c_[1 - p, p])
                place = {"repeat": repeat, "fold": fold, "draw": 0, "seed": 0}
                how = {"task": "subtyping", "protocol": "linear", "modality": "wsi", "head": "logistic"}
                rows.append(stamp(part, Names("c", "e", "s", method), **how, **place))
    tables = score_predictions({"subtyping": pd.concat(rows)}, {}, {("c", "s"): pd.concat(splits)}, QUICK)
    values = tables.metrics.query("metric == 'accuracy' and fold != 'pooled'").pivot_table(
        index=["repeat", "fold"], columns="method", values="value"
    )
    gaps = (values["one"] - values["two"]).to_numpy()
    t = gaps.mean() / np.sqrt((1 / 6 + 10 / 20) * gaps.var(ddof=1))
    expected = 2 * student.sf(abs(t), 5)
    found = tables.comparisons
    mine = found[(found["test"] == "corrected_t") & (found["metric"] == "accuracy")]
    row = mine[(mine["method_a"] == "one") & (mine["method_b"] == "two")].iloc[0]
    assert len(gaps) == 6 and row["p"] == pytest.approx(expected)
    family = found[found["in_family"]]
    assert len(family) == 3 and set(family["metric"]) == {"auroc"} and set(family["test"]) == {"bootstrap"}
    p = np.sort(family["p"].to_numpy())
    steps = np.minimum(1, np.maximum.accumulate(p * [3, 2, 1]))
    assert np.allclose(np.sort(family["p_holm"]), steps)
    best = family[(family["rank_a"] == 1) & (family["rank_b"] == 2)]
    assert (best["significant_vs_runner_up"] == (best["p_holm"] < 0.05)).all()


def test_methods_without_slides_stand_in_every_encoders_table(evaluation_cohort, results):
    """An RNA baseline (encoder none) is compared with the model under the model's encoder."""
    _, _, splits, _ = evaluation_cohort
    rows = results["subtyping"].rows.query("protocol == 'linear'")
    rna = rows.assign(method="rna_logistic", encoder="none", modality="rna", protocol="supervised")
    both = pd.concat([rows, rna], ignore_index=True)
    found = score_predictions({"subtyping": both}, {}, {("sim", "cv5"): splits}, QUICK).comparisons
    assert set(found["encoder"]) == {"enc"} and {"mirror", "rna_logistic"} == set(found["method_a"]) | set(
        found["method_b"]
    )


@pytest.mark.fault(
    stage="evaluation",
    fault="a fold with one class",
    sees="which fold and why, in the notes",
    survives="the other folds",
)
def test_a_fold_of_one_class_is_left_out_with_its_reason(evaluation_cohort):
    """No AUROC for that fold, a note instead of NaN, and the other metrics stay."""
    patients, _, splits, files = evaluation_cohort
    first = splits.query("fold == 0 and set == 'test'")["patient_id"]
    one = patients.assign(label=patients["label"].where(~patients.index.isin(first), "A"))
    settings = QUICK.model_copy(update={"protocols": ["linear"]})
    rows = evaluate_embeddings(files, one, splits, "subtyping", NAMES, settings, 0).rows
    tables = score_predictions({"subtyping": rows}, {"sim": one}, {("sim", "cv5"): splits}, settings)
    found = set(tables.metrics.query("fold == 0")["metric"])
    assert "auroc" not in found and "accuracy" in found
    note = tables.notes.query("fold == 'r0f0' and metric == 'auroc'").iloc[0]
    assert "only A" in note["reason"]


@pytest.mark.fault(
    stage="evaluation",
    fault="patients without outcome; a fold without embeddings; embeddings of another fold",
    sees="the fold",
    survives="the other patients",
)
def test_missing_outcomes_and_embeddings(evaluation_cohort):
    """Patients without label are left out; a fold without embeddings is an error of one line."""
    patients, _, splits, files = evaluation_cohort
    holes = patients.copy()
    holes.loc[holes.index[:7], "label"] = None
    settings = QUICK.model_copy(update={"protocols": ["linear"]})
    rows = evaluate_embeddings(files, holes, splits, "subtyping", NAMES, settings, 0).rows
    assert rows["patient_id"].nunique() == len(patients) - 7
    with pytest.raises(InputError, match="r0f4"):
        evaluate_embeddings(files[:4], patients, splits, "subtyping", NAMES, settings, 0)
    swapped = splits.assign(set=splits["set"].map({"train": "test", "test": "train"}))
    with pytest.raises(InputError, match="another set"):
        evaluate_embeddings(files, patients, swapped, "subtyping", NAMES, settings, 0)


def test_slides_of_a_patient_are_averaged(evaluation_cohort):
    """Rows with NaN (a missing modality) are left out of the mean."""
    values = np.array([[1.0, 2.0], [3.0, 4.0], [np.nan, np.nan], [np.nan, np.nan]])
    found = average_by_patient(values, np.array([0, 0, 0, 1]), 2)
    assert np.allclose(found[0], [2, 3]) and np.isnan(found[1]).all()
    *_, files = evaluation_cohort
    fold = load_fold(files[0])
    assert len(fold.patients) == 60 and fold.modalities["fused"].shape == (60, 48)


def test_retrieval_ranks(evaluation_cohort):
    """Perfect partners rank first; a collapsed model ranks at chance; the simulated one in between."""
    eye = np.eye(6)
    assert (partner_ranks(eye, eye) == 1).all()
    assert (partner_ranks(np.ones((6, 3)), np.ones((6, 3))) == 3.5).all()
    *_, files = evaluation_cohort
    rows = evaluate_retrieval(files, NAMES, 42)
    assert len(rows) == 120 and set(rows["modality"]) == {"wsi_to_rna", "rna_to_wsi"}
    assert (rows["candidates"] == 12).all() and rows["rank"].mean() < 5


def test_script_writes_the_tables(evaluation_cohort, results, tmp_path, root):
    """The rule's script: predictions and embeddings in, three tables out; names come from the folders."""
    patients, _, splits, files = evaluation_cohort
    folder = tmp_path / "cohort" / "sim"
    (folder / "cv5").mkdir(parents=True)
    (folder / "targets").mkdir()
    outcomes = [folder / "targets" / f"{task}.tsv" for task in results]
    for path in outcomes:
        patients.to_csv(path, sep="\t", index=False)
    splits.to_csv(folder / "cv5" / "splits.tsv", sep="\t", index=False)
    paths = []
    for task, result in results.items():
        paths.append(tmp_path / f"{task}.parquet")
        write_predictions(paths[-1], result.rows, task, result.metadata)
    main = runpy.run_path(str(root / "workflow" / "scripts" / "compute_metrics.py"))["main"]
    out = [tmp_path / name for name in ("metrics.tsv", "comparisons.tsv", "notes.tsv")]
    main(paths, outcomes, [folder / "cv5" / "splits.tsv"], files, QUICK.model_dump(), 42, *out)
    table = pd.read_csv(out[0], sep="\t")
    assert set(table["task"]) == {"subtyping", "survival", "retrieval"} and table["value"].notna().all()
    assert len(pd.read_csv(out[1], sep="\t")) and out[2].exists()
    again = compute_metrics(paths, {"sim": patients}, {("sim", "cv5"): splits}, QUICK, files, 42).metrics
    assert np.allclose(again["value"], table["value"], rtol=1e-6)


def test_ranking_metrics_compare_patients_of_one_fold_only():
    """Two folds whose scores are apart by a constant: pooled within folds, AUROC is 1 in both and together."""
    rows = []
    for fold, shift in ((0, 0.0), (1, 0.5)):
        p = np.array([0.1, 0.2, 0.3, 0.4]) + shift
        names = [f"P{fold}{i}" for i in range(4)]
        part = subtyping_rows(names, np.array(["a", "a", "b", "b"]), ["a", "b"], np.c_[1 - p, p])
        how = {"task": "subtyping", "protocol": "linear", "modality": "wsi", "head": "logistic"}
        rows.append(stamp(part, Names("c", "e", "s", "m"), **how, repeat=0, fold=fold, draw=0, seed=0))
    table = score_predictions({"subtyping": pd.concat(rows)}, {}, {}, QUICK).metrics
    assert table.query("metric == 'auroc' and fold == 'pooled'")["value"].item() == 1.0


def test_a_cohort_of_one_label_has_no_subtyping(evaluation_cohort):
    """No rows and a note in the prediction file; predictions of one class alone have no metric and a reason."""
    patients, _, splits, files = evaluation_cohort
    result = evaluate_embeddings(files, patients.assign(label="IDC"), splits, "subtyping", NAMES, QUICK, 0)
    assert result.rows.empty and any("one label has no subtyping" in note for note in result.metadata["notes"])
    part = subtyping_rows(["x", "y"], np.array(["a", "a"]), ["a"], np.ones((2, 1)))
    how = {"task": "subtyping", "protocol": "linear", "modality": "wsi", "head": "logistic"}
    rows = stamp(part, Names("c", "e", "s", "m"), **how, repeat=0, fold=0, draw=0, seed=0)
    tables = score_predictions({"subtyping": rows}, {}, {}, QUICK)
    assert tables.metrics.empty and "one label" in tables.notes["reason"].iloc[0]


def test_survival_shots_hold_events_and_every_method_draws_the_same(results):
    """Half of a bin's patients with an event: no draw falls back for lack of them, and the number is told."""
    rows = results["survival"].rows.query("protocol == 'fewshot'")
    assert (rows["train_events"] >= 10).all() and (rows["train_events"] < rows["train_n"]).all()
    assert set(rows["penalty"]) == set(QUICK.fewshot.C)
    assert not any("fewshot" in note and "strongest penalty" in note for note in results["survival"].metadata["notes"])


def test_intervals_say_what_they_cover_and_refits_widen_them(evaluation_cohort, results):
    """Linear rows have refits, few-shot rows their draws; without refits the bound is used; ECE has no interval."""
    patients, _, splits, _ = evaluation_cohort
    rows = results["subtyping"].rows
    tables = score_predictions({"subtyping": rows}, {"sim": patients}, {("sim", "cv5"): splits}, QUICK).metrics
    pooled = tables[tables["fold"] == "pooled"].set_index(["protocol", "metric"])
    assert pooled.loc[("linear", "auroc"), "covers"] == "refits"
    assert pooled.loc[("linear", "kappa"), "covers"] == "refits, widened", "its scale follows the penalty"
    assert pooled.loc[("fewshot", "auroc"), "covers"] == "draws, widened"
    assert np.isnan(pooled.loc[("linear", "ece"), "ci_low"])
    bare = rows.query("protocol == 'linear'").assign(refits=None)
    bound = score_predictions({"subtyping": bare}, {"sim": patients}, {("sim", "cv5"): splits}, QUICK).metrics
    bound = bound[bound["fold"] == "pooled"].set_index("metric")
    assert bound.loc["auroc", "covers"] == "widened"
    assert bound.loc["auroc", "value"] == pooled.loc[("linear", "auroc"), "value"]


@pytest.mark.parametrize("kind", ["one event", "last day", "all on one day", "no event", "one patient"])
def test_degenerate_follow_up_ends_in_reasons_never_in_an_error(kind):
    """Metrics that cannot be had are left out with a reason; what is written is finite."""
    rng = np.random.default_rng(1)
    n = 1 if kind == "one patient" else 24
    time, event = rng.integers(30, 900, n).astype(float), rng.random(n) < 0.5
    if kind == "one event":
        event = time == time.max()
    elif kind == "last day":
        time[-8:], event[-8:] = 1000.0, [True, False] * 4
    elif kind == "all on one day":
        time[:] = 500.0
    elif kind == "no event":
        event[:] = False
    names = [f"P{i:02d}" for i in range(n)]
    patients = pd.DataFrame({"patient_id": names, "time_days": time, "event": event.astype(int)}, index=names)
    at = np.array([100.0, 500.0])
    part = survival_rows(names, time, event, rng.normal(size=n), 0.0, at, np.tile([0.9, 0.5], (n, 1)))
    how = {"task": "survival", "protocol": "linear", "modality": "wsi", "head": "cox"}
    rows = stamp(part, Names("c", "e", "s", "m"), **how, repeat=0, fold=0, draw=0, seed=0)
    splits = pd.DataFrame({"patient_id": names, "repeat": 0, "fold": 0, "set": "train"})
    tables = score_predictions({"survival": rows}, {"c": patients}, {("c", "s"): splits}, QUICK)
    assert np.isfinite(tables.metrics["value"]).all()
    if kind in ("no event", "one patient", "one event"):
        assert "c_index" in set(tables.notes["metric"]) and "c_index" not in set(tables.metrics["metric"])
    kaplan_meier(rows, "t")
    groups = np.where(np.arange(n) % 2, "high", "low")
    assert logrank(time, event, groups) is None or np.isfinite(logrank(time, event, groups)).all()


def test_resamples_of_average_precision_are_centred_at_the_value(evaluation_cohort, results):
    """A patient who is drawn twice raises it: uncentred, the interval of few-shot rows lies above its value."""
    patients, _, splits, _ = evaluation_cohort
    rows = results["subtyping"].rows
    tables = score_predictions({"subtyping": rows}, {"sim": patients}, {("sim", "cv5"): splits}, QUICK).metrics
    pooled = tables[(tables["fold"] == "pooled") & (tables["metric"] == "auprc")]
    assert len(pooled) == 2
    for row in pooled.itertuples():
        low, high = row.value - row.ci_low, row.ci_high - row.value
        assert max(low, high) < 2 * min(low, high) or (row.ci_high == 1.0 and low < 0.5)  # cut at its bound
    drawn = np.r_[0.5, 0.5 + 0.02 + 0.01 * np.random.default_rng(0).normal(size=500)]
    moved = centre(drawn)
    assert (
        moved[0] == 0.5
        and moved[1:].mean() == pytest.approx(0.5)
        and np.std(moved[1:]) == pytest.approx(np.std(drawn[1:]))
    )
