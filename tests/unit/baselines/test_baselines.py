"""Baselines: each runs in the same folds, finds the signal, and says what it lacks."""

from __future__ import annotations

import dataclasses
import json
import runpy
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest

from mirror.audit.provenance import read_fitted
from mirror.baselines import REGISTRY, find_baseline, load_all
from mirror.baselines.covariates import Covariates, stage_number
from mirror.baselines.fold_data import COVARIATES, FoldData
from mirror.baselines.run import evaluate_baseline
from mirror.config.evaluation import EvaluationSettings
from mirror.config.rna import RnaSettings
from mirror.core.errors import InputError
from mirror.dataset.patches import Slides
from mirror.evaluation.score import score_predictions
from mirror.heads.survival import NoModel
from mirror.io.features import write_features
from mirror.io.predictions import Names, read_predictions
from mirror.plan.registry import find_baselines
from mirror.plan.targets import SHORT
from mirror.rna.transform import fit_transform
from mirror.targets.fewshot import training_sets

QUICK = EvaluationSettings(
    probe={"C": [0.01], "inner_folds": 3},
    statistics={"bootstrap": 50},
    baseline={"mil_epochs": 8, "mil_lr": 5e-3, "mil_width": 16, "mil_tokens": 16, "mlp_epochs": 30, "forest_trees": 20},
)
FOLDS = pd.DataFrame(
    [
        {"patient_id": f"P{i:03d}", "repeat": 0, "fold": fold, "set": "test" if i % 2 == fold else "train"}
        for fold in range(2)
        for i in range(60)
    ]
)
CASES = [
    (name, task) for name, entry in sorted(load_all().items()) for task, kind in SHORT.items() if kind in entry.kinds
]
FEW = sorted({name for name, _ in CASES if load_all()[name].fewshot})


@pytest.fixture(scope="module")
def sources(evaluation_cohort, tmp_path_factory):
    """Patch features (every third patient has two slides) and genes that carry the factors."""
    patients, factors, _, _ = evaluation_cohort
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("features")
    to_patch, to_gene = 0.7 * rng.normal(size=(2, 12)), rng.normal(size=(2, 80))
    rows = []
    for i, patient in enumerate(patients.index):
        for k in range(1 + (i % 3 == 0)):
            n = int(rng.integers(15, 40))
            features = (factors[i] @ to_patch + rng.normal(size=(n, 12))).astype(np.float32)
            coords = np.c_[np.arange(n), np.zeros(n, int)] * 256
            write_features(folder / f"{patient}_{k}.h5", features, coords, encoder="plain", dtype="float32")
            rows.append({"slide_id": f"{patient}_{k}", "patient_id": patient})
    genes = (factors @ to_gene + 1.5 * rng.normal(size=(len(patients), 80))).astype(np.float32)
    genes[3, 5] = 36893.0  # as in the real z-scores
    place = {patient: row for row, patient in enumerate(patients.index)}

    def expression(wanted):
        return genes[[place[p] for p in wanted]], list(wanted)

    return Slides(pd.DataFrame(rows), folder), {f"r0f{k}": expression for k in range(2)}


def _run(name, task, evaluation_cohort, sources, **changes):
    patients, *_ = evaluation_cohort
    slides, expression = sources
    given = {"patients": patients, "slides": slides, "expression": expression, **changes}
    table = given.pop("patients")
    return evaluate_baseline(name, table, FOLDS, task, Names("sim", "enc", "cv5", name), QUICK, 1, **given)


def test_registry_is_what_the_workflow_plans():
    """The plan's list (made before any environment exists) and the registry agree."""
    for name, entry in load_all().items():
        planned = find_baselines()[name]
        for key in ("modality", "kinds", "title", "order", "heads", "gpu", "network"):
            assert getattr(planned, key) == getattr(entry, key), (name, key)
        assert entry.title and entry.order < 1000


def test_one_baseline_imports_its_own_file(root):
    """Running a linear baseline imports no other method, and no PyTorch."""
    code = """
import sys
from mirror.baselines import find_baseline
from mirror.baselines.run import evaluate_baseline
assert find_baseline("slide_mean").name == "slide_mean"
loaded = {m for m in sys.modules if m.startswith("mirror.baselines.methods.")}
assert loaded == {"mirror.baselines.methods.slide_mean"}, loaded
assert "torch" not in sys.modules
"""
    environment = {"PYTHONPATH": str(root / "workflow" / "scripts"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "task"), CASES)
def test_baseline_predicts_every_patient_and_finds_the_signal(name, task, evaluation_cohort, sources):
    """Held-out AUROC or C-index well above one half, in every baseline."""
    patients, *_ = evaluation_cohort
    result = _run(name, task, evaluation_cohort, sources)
    assert (result.rows.groupby(["protocol", "head"])["patient_id"].nunique() == len(patients)).all()
    assert set(result.rows["protocol"]) == {"supervised"} | ({"fewshot"} if find_baseline(name).fewshot else set())
    result.rows = result.rows[result.rows["protocol"] == "supervised"]
    assert set(result.metadata["patients"]) == {"r0f0", "r0f1"}
    table = score_predictions({task: result.rows}, {"sim": patients}, {("sim", "cv5"): FOLDS}, QUICK).metrics
    metric = "auroc" if task == "subtyping" else "c_index"
    least = 0.55 if name == "clinical" else 0.6  # age, sex and stage say little of the label here
    assert (table.query(f"fold == 'pooled' and metric == '{metric}'")["value"] > least).all()


@pytest.mark.parametrize(("name", "task"), CASES)
def test_baseline_without_its_data_yields_no_rows_and_a_reason(name, task, evaluation_cohort, sources):
    """No slides, no RNA, no clinical columns: an empty table that says so."""
    bare = evaluation_cohort[0].drop(columns=["age", "sex", "stage"])
    result = _run(name, task, evaluation_cohort, sources, patients=bare, slides=None, expression=None)
    notes = [note for note in result.metadata["notes"] if "few-shot" not in note]
    assert len(result.rows) == 0 and len(notes) == 2
    assert "left out" in notes[0]


def test_unknown_baselines_and_tasks_are_one_line_errors(evaluation_cohort, sources):
    """The error names what there is."""
    with pytest.raises(InputError, match="rna_cox"):
        find_baseline("rna_coxx")
    with pytest.raises(InputError, match="its kinds: survival"):
        _run("rna_cox", "subtyping", evaluation_cohort, sources)


def test_stages():
    """Stages of many spellings."""
    spelled = ["Stage I", "stage IIIA", "IV", "Stage IIB", "2", "Stage X", "not reported", None, "I/II NOS"]
    assert [stage_number(text) for text in spelled][:5] == [1, 3, 4, 2, 2]
    assert np.isnan([stage_number(text) for text in spelled[5:8]]).all()


def test_covariates_are_learnt_from_training_patients():
    """Medians and categories come from training; names of patients and unknown columns are left out."""
    train = pd.DataFrame(
        {
            "age": [60, 70, None, 80],
            "sex": ["male", "female", "male", "male"],
            "stage": [None, None, None, "Stage I"],
            "site": list("abcd"),
        }
    )
    test = pd.DataFrame({"age": [None], "sex": ["other"], "stage": ["Stage IV"], "site": ["e"]})
    found = Covariates().fit(train, COVARIATES)
    assert list(found.columns_) == ["age", "sex"]
    assert found.transform(train).shape == (4, 3) and list(found.transform(test)[0]) == [70.0, 1.0, 0.0]


def test_only_columns_on_the_list_are_covariates():
    """A new column of the patients table is no covariate until the configuration names it."""
    table = pd.DataFrame({"age": [60.0, 70, 80, 50], "relapse": [0, 1, 1, 0], "site": list("aabb")})
    assert list(Covariates().fit(table, COVARIATES).columns_) == ["age"]
    assert list(Covariates().fit(table, (*COVARIATES, "relapse")).columns_) == ["age", "relapse"]
    with pytest.raises(NoModel, match="age, sex, stage"):
        Covariates().fit(table[["relapse", "site"]], COVARIATES)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_fitted_baselines_are_stored_and_predict_alike(name, task, evaluation_cohort, sources):
    """To plain data and back: the same predictions; outcomes of the patients to predict are not read."""
    patients, *_ = evaluation_cohort
    slides, expression = sources
    fast = QUICK.model_copy(update={"baseline": QUICK.baseline.model_copy(update={"mil_epochs": 1, "mlp_epochs": 1})})
    fold = FoldData(task, patients[::2], patients[1::2], fast, 1, slides, expression["r0f0"])
    method = find_baseline(name).method().fit(fold)
    if name == "rna_rsf":  # trees are no vectors
        with pytest.raises(NotImplementedError, match="cannot be stored"):
            method.to_dict()
        return
    data = method.to_dict()
    network = data.pop("network", None)
    data = json.loads(json.dumps(data, allow_nan=False)) | ({"network": network} if network else {})
    again = type(method).from_dict(data)
    blind = dataclasses.replace(fold.held_out, table=fold.test.drop(columns=["label", "time_days", "event"]))
    for ours, stored in zip(method.predict(fold.held_out), again.predict(blind), strict=True):
        assert (ours.head, list(ours.patients)) == (stored.head, list(stored.patients)) and len(ours.patients) == 30
        for key, value in vars(ours.prediction).items():
            other = getattr(stored.prediction, key)
            assert value == other if key == "classes" else np.allclose(value, other, rtol=1e-6, atol=1e-9)


def test_bags_hold_a_patients_own_patches_once(sources):
    """All slides of a patient, without replacement, cut at the size asked for."""
    slides, _ = sources
    patient = next(p for p, files in slides.files.items() if len(files) == 2)
    everything = slides.bag(patient, 10_000, np.random.default_rng(0))
    assert len(everything) == slides.patches(patient)
    some = slides.bag(patient, 20, np.random.default_rng(0))
    assert len(some) == 20 == len(np.unique(some, axis=0))
    slides_uncached = Slides.__new__(Slides)
    slides_uncached.__dict__.update({**vars(slides), "_cache": None})
    assert np.array_equal(slides_uncached.bag(patient, 20, np.random.default_rng(0)), some)
    mean = np.mean([file.all().mean(axis=0) for file in slides.files[patient]], axis=0)
    assert np.allclose(slides.pooled("mean", patient), mean, atol=1e-5)


def test_baselines_see_the_patches_that_the_models_see(tmp_path):
    """Blurred patches are left out; of a slide without a sharp one all are kept."""
    for name, focus in (("half", [1, 9, np.nan, 2]), ("none", [1, 1, 1, 1])):
        rows = np.arange(4, dtype=np.float32)[:, None] * np.ones(3, np.float32)
        write_features(tmp_path / f"{name}.h5", rows, None, encoder="e", focus=np.array(focus, np.float32))
    table = pd.DataFrame({"slide_id": ["half", "none"], "patient_id": ["a", "b"]})
    sharp, every = Slides(table, tmp_path, min_focus=5.0), Slides(table, tmp_path)
    assert [s.patches("a") for s in (sharp, every)] == [2, 4]
    assert sharp.bag("a", 9, np.random.default_rng(0))[:, 0].tolist() == [1, 2]
    assert sharp.pooled("mean", "a").tolist() == [1.5] * 3 and sharp.pooled("max", "b").tolist() == [3] * 3


def test_script_reads_the_workflows_files(evaluation_cohort, sources, tmp_path, root):
    """Expression, fitted transforms, features and tables in; predictions with their provenance out."""
    patients, *_ = evaluation_cohort
    slides, expression = sources
    outcomes = ["label", "time_days", "event"]
    patients.drop(columns=outcomes).to_csv(tmp_path / "patients.tsv", sep="\t", index=False)
    patients[["patient_id", "time_days", "event"]].to_csv(tmp_path / "survival.tsv", sep="\t", index=False)
    FOLDS.to_csv(tmp_path / "splits.tsv", sep="\t", index=False)
    genes, names = expression["r0f0"](list(patients.index))
    adata = anndata.AnnData(X=genes, obs=pd.DataFrame(index=names))
    adata.uns["mirror"] = json.dumps({"values": "zscore"})
    adata.write_h5ad(tmp_path / "sim.h5ad")
    transforms = []
    for fold in range(2):
        train = FOLDS.query("fold == @fold and set == 'train'")["patient_id"].tolist()
        transforms.append(tmp_path / f"transform_r0f{fold}.npz")
        fit_transform(adata, train, list(adata.var_names), RnaSettings()).save(transforms[-1])
    folder = next(iter(slides.files.values()))[0].file.path.parent
    owner = [(file.file.path.stem, p) for p, files in slides.files.items() for file in files] + [("lost", "P000")]
    pd.DataFrame(owner, columns=["slide_id", "patient_id"]).to_csv(tmp_path / "slides.tsv", sep="\t", index=False)
    (tmp_path / "status.tsv").write_text("slide_id\tstatus\nlost\tfailed\n")
    main = runpy.run_path(str(root / "workflow" / "scripts" / "evaluate_baseline.py"))["main"]
    out = tmp_path / "late_fusion.parquet"
    main(
        "late_fusion",
        "survival",
        tmp_path / "patients.tsv",
        tmp_path / "survival.tsv",
        tmp_path / "splits.tsv",
        tmp_path / "slides.tsv",
        folder,
        tmp_path / "sim.h5ad",
        transforms,
        QUICK.model_dump(),
        {"cohort": "sim", "encoder": "enc", "scheme": "cv2", "method": "late_fusion"},
        1,
        out,
        [tmp_path / "status.tsv"],
    )
    rows, metadata = read_predictions(out)
    assert set(rows["patient_id"]) == set(patients.index) and set(rows["head"]) == {"discrete", "cox"}
    assert {record.check for record in read_fitted(out)} == {"probe", "time_bins"}
    assert len(metadata["sources"]) == 7


def test_fewshot_baselines_are_fitted_on_the_draws_of_every_other_method(evaluation_cohort, sources, monkeypatch):
    patients, *_ = evaluation_cohort
    settings = QUICK.model_copy(update={"fewshot": QUICK.fewshot.model_copy(update={"k": 4, "draws": 3})})
    seen = []
    chosen = find_baseline("slide_mean")

    class Spied(chosen.method):
        def fit(self, fold):
            seen.append(list(fold.train.index))
            return super().fit(fold)

    monkeypatch.setitem(REGISTRY, "slide_mean", dataclasses.replace(chosen, method=Spied))
    slides, expression = sources
    found = evaluate_baseline(
        "slide_mean", patients, FOLDS, "subtyping", Names("sim", "enc", "cv5", "slide_mean"), settings, 1, slides,
        expression,
    )  # fmt: skip
    counts = found.rows.groupby(["protocol", "fold", "draw"]).size()
    assert sorted(counts.index) == sorted(
        [("supervised", f, 0) for f in (0, 1)] + [("fewshot", f, d) for f in (0, 1) for d in range(3)]
    )
    for fold in (0, 1):
        train = patients.loc[[p for i, p in enumerate(patients.index) if i % 2 != fold]]
        expected = [rows for _, _, rows in training_sets("subtyping", train, 0, fold, settings, 1)]
        mine = seen[4 * fold : 4 * fold + 4]
        assert [sorted(rows) for rows in mine] == [sorted(rows) for rows in expected]
        assert all(len(rows) == 8 for rows in mine[1:])


@pytest.mark.parametrize("name", FEW)
def test_every_baseline_stands_at_every_number_of_shots(name, evaluation_cohort, sources):
    """One patient per class is enough for rows, and the training sets are those that embeddings get."""
    patients, *_ = evaluation_cohort
    settings = QUICK.model_copy(update={"fewshot": QUICK.fewshot.model_copy(update={"k": [1, 4], "draws": 2})})
    slides, expression = sources
    for task, kind in SHORT.items():
        if kind in load_all()[name].kinds:
            found = evaluate_baseline(
                name, patients, FOLDS, task, Names("sim", "enc", "cv5", name), settings, 1, slides, expression
            )
            assert set(found.rows["protocol"]) == {"supervised", "fewshot_1", "fewshot_4"}, found.metadata["notes"]
            sizes = found.rows.groupby(["protocol", "fold", "draw"])["train_n"].first()
            for fold in (0, 1):
                train = patients.loc[[p for i, p in enumerate(patients.index) if i % 2 != fold]]
                for protocol, draw, chosen in training_sets(task, train, 0, fold, settings, 1):
                    assert protocol == "linear" or sizes[protocol, fold, draw] == len(chosen)


def test_models_trained_for_minutes_take_no_part_in_fewshot():
    assert {name for name, entry in load_all().items() if not entry.fewshot} == {
        "abmil", "transmil", "rna_mlp", "rna_rsf",
    }  # fmt: skip


def test_scaled_patch_features_have_no_unit(evaluation_cohort, sources, tmp_path):
    """Ranks of training patients: features in other units give the same bags, and the means differ from raw ones."""
    slides, _ = sources
    patients = sorted(slides.files)
    table, unit = [], np.float32(10.0) ** np.arange(-5, 7)
    for patient in patients:
        for k, file in enumerate(slides.files[patient]):
            rows = file.all() * unit
            write_features(
                tmp_path / f"{patient}_{k}.h5", rows, np.zeros((len(rows), 2)), encoder="plain", dtype="float32"
            )
            table.append({"slide_id": f"{patient}_{k}", "patient_id": patient})
    others = Slides(pd.DataFrame(table), tmp_path)
    one, other = (s.scaled("ranks", patients[:40]) for s in (slides, others))
    for patient in patients[::7]:
        assert np.allclose(one.pooled("mean", patient), other.pooled("mean", patient), atol=1e-3)
        bags = [s.bag(patient, 10, np.random.default_rng(0)) for s in (one, other)]
        assert np.allclose(*bags, atol=1e-3)
    assert abs(np.mean([one.pooled("mean", p) for p in patients[:40]])) < 0.1
    assert slides.scaled("none", patients) is slides
    raw = slides.pooled("mean", patients[0])
    assert not np.allclose(raw, one.pooled("mean", patients[0]))
    assert np.array_equal(raw, Slides.pooled(slides, "mean", patients[0]))  # the original is as it was
    settings = QUICK.model_copy(update={"baseline": QUICK.baseline.model_copy(update={"slide_scaling": "ranks"})})
    names = Names("sim", "enc", "cv5", "slide_mean")
    found = [
        evaluate_baseline("slide_mean", evaluation_cohort[0], FOLDS, "subtyping", names, settings, 1, slides=given)
        for given in (slides, others)
    ]
    probabilities = [r.rows.filter(like="p_").to_numpy(float) for r in found]
    assert np.allclose(*probabilities, atol=0.01)
