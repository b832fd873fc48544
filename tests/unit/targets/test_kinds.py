"""Kinds of target: registry, rules, heads and metrics of each."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, r2_score, roc_auc_score

from mirror.config.evaluation import EvaluationSettings, ProbeSettings
from mirror.core.errors import InputError
from mirror.evaluation.score import score_predictions
from mirror.heads.refits import refit_of
from mirror.heads.ridge import RidgeHead
from mirror.heads.stored import head_from_dict
from mirror.io.predictions import Names, read_predictions, write_predictions
from mirror.metrics.numbers import neighbour_auroc, number_metrics, number_metrics_of_models, quadratic_kappa
from mirror.plan.kinds import find_kinds
from mirror.targets.base import who_takes_part
from mirror.targets.fewshot import training_sets
from mirror.targets.fit import fit_task
from mirror.targets.folds import FoldRun
from mirror.targets.registry import Target, find_kind

QUICK = EvaluationSettings.model_validate(
    {"statistics": {"bootstrap": 60, "refits": 20}, "fewshot": {"k": 4, "draws": 2}, "probe": {"C": [0.01, 0.1]}}
)
LEVELS = ("low", "middle", "high")


@pytest.fixture(scope="module")
def world():
    """Patients whose number and level follow five features, and three folds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 5))
    value = 3 * x[:, 0] + x[:, 1] + rng.normal(size=120) + 10
    names = [f"P{i:03d}" for i in range(120)]
    level = np.array(LEVELS)[np.searchsorted(np.quantile(value, [1 / 3, 2 / 3]), value)]
    patients = pd.DataFrame({"patient_id": names, "value": value, "label": level}, index=names)
    patients.loc[names[3], ["value", "label"]] = [np.nan, None]
    rows = [(n, 0, f, "test" if i % 3 == f else "train") for f in range(3) for i, n in enumerate(names)]
    return x, patients, pd.DataFrame(rows, columns=["patient_id", "repeat", "fold", "set"])


def predictions(world, target):
    """Out-of-fold and few-shot predictions of a target."""
    x, patients, splits = world
    place = {name: i for i, name in enumerate(patients.index)}
    run = FoldRun(target, patients, splits, Names("A", "none", "cv3", "m"), QUICK, 1)
    for fold in run:
        for protocol, draw, chosen in training_sets(run.target, fold.train, 0, fold.source.fold, QUICK, 1):
            train = fold.train.loc[chosen]
            a, b = (x[[place[p] for p in part.index]] for part in (train, fold.test))
            head = run.rules.heads(QUICK)[0]
            found, notes = fit_task(run.target, head, a, train, b, fold.test, QUICK, 1)
            how = {"protocol": protocol, "modality": "rna", "head": head, "place": {"draw": draw}}
            run.add(found, fold, **how, notes=notes, train=train)
    return run.result()


def test_what_the_plan_reads_is_what_is_registered():
    for name, entry in find_kinds().items():
        rules = find_kind(name)
        assert (rules.name, rules.primary) == (name, entry.primary)
        assert entry.primary in entry.metrics and entry.figures and entry.draw.partition(":")[2]


def test_adding_a_kind_is_adding_one_file(tmp_path):
    file = tmp_path / "counts.py"
    file.write_text(
        '@kind("count", section="Counts", primary="deviance", figures={"bars": "Bars"})\nclass Count: ...\n'
    )
    found = find_kinds(tmp_path)["count"]
    assert (found.file, found.section, found.figures) == (file, "Counts", {"bars": "Bars"})
    file.write_text('WHAT = "x"\n@kind("count", section=WHAT, primary="deviance")\nclass Count: ...\n')
    find_kinds.cache_clear()
    with pytest.raises(InputError, match="not written out"):
        find_kinds(tmp_path)


def test_names_of_short_forms_say_their_kind_and_others_do_not():
    assert Target.of("survival").kind == "survival" and Target.of("subtyping").kind == "class"
    with pytest.raises(InputError, match="pam50"):
        Target.of("pam50")
    with pytest.raises(InputError, match="no kind of target"):
        Target("x", "colour").rules  # noqa: B018


def test_ridge_is_scikit_learns_and_is_stored(world):
    x, patients, _ = world
    y = patients["value"].dropna().to_numpy()
    x = x[patients["value"].notna().to_numpy()]
    head = RidgeHead(ProbeSettings(C=[0.05])).fit(x, y)
    z = (x - x.mean(0)) / x.std(0)
    theirs = Ridge(alpha=20).fit(z, y)
    assert np.allclose(head.predict(x), theirs.predict(z))
    again = head_from_dict(json.loads(json.dumps(head.to_dict())))
    assert np.allclose(again.predict(x), head.predict(x))
    chosen = RidgeHead(ProbeSettings(C=[1e-6, 0.1])).fit(x, y)
    assert chosen.penalty_ == 0.1  # the signal is strong: a penalty that removes it is not chosen
    flat = RidgeHead().fit(x, np.full(len(x), 2.0))
    assert np.allclose(flat.predict(x), 2) and np.isnan(flat.penalty_) and flat.notes_


def test_refits_of_ridge_are_weighted_fits(world):
    """The Newton step is exact where the weights change little."""
    x, patients, _ = world
    rows = patients["value"].notna().to_numpy()
    x, y = x[rows], patients["value"].to_numpy()[rows]
    head = RidgeHead(ProbeSettings(C=[1.0])).fit(x, y)
    weights = 1 + 0.01 * np.random.default_rng(0).normal(size=(1, len(y)))
    z = head.scaler_(x)
    theirs = Ridge(alpha=1.0).fit(z, y, sample_weight=weights[0]).predict(z)
    assert np.abs(refit_of(head, x, y, x)(weights)[0] - theirs).max() < 2e-3
    assert np.abs(head.predict(x) - theirs).max() > 2e-3


def test_metrics_of_numbers_agree_with_scipy_and_count_resampled_patients():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=50).round(1)  # with ties
    value, fold = truth + rng.normal(size=50), np.zeros(50, int)
    found = number_metrics(truth, value, np.ones((1, 50)), fold)
    assert found["r2"][0] == pytest.approx(r2_score(truth, value))
    assert found["pearson"][0] == pytest.approx(pearsonr(truth, value)[0])
    assert found["spearman"][0] == pytest.approx(spearmanr(truth, value)[0])
    assert found["mae"][0] == pytest.approx(mean_absolute_error(truth, value))
    drawn = rng.integers(0, 3, 50)
    again = np.repeat(np.arange(50), drawn)
    weighted = number_metrics(truth, value, drawn[None].astype(float), fold)
    for name, score in (("r2", r2_score), ("mae", mean_absolute_error)):
        assert weighted[name][0] == pytest.approx(score(truth[again], value[again]))
    assert weighted["spearman"][0] == pytest.approx(spearmanr(truth[again], value[again])[0])
    models = number_metrics_of_models(truth, np.stack([value, truth]), fold)
    assert all(models[name][0] == pytest.approx(found[name][0]) for name in found) and models["r2"][1] == 1


def test_correlations_do_not_compare_patients_of_two_models():
    """A shift between folds changes R² and the error, and no correlation."""
    rng = np.random.default_rng(2)
    truth, fold = rng.normal(size=60), np.repeat([0, 1], 30)
    value = truth + rng.normal(size=60)
    one, two = (number_metrics(truth, v, np.ones((1, 60)), fold) for v in (value, value + 5 * fold))
    assert one["pearson"][0] == pytest.approx(two["pearson"][0]) and one["r2"][0] > two["r2"][0]
    assert one["spearman"][0] == pytest.approx(two["spearman"][0])


def test_quadratic_kappa_and_neighbours_agree_with_scikit_learn():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 80)
    p = rng.dirichlet(np.ones(3), 80) + 0.5 * np.eye(3)[truth]
    p /= p.sum(1, keepdims=True)
    w = np.ones((1, 80))
    guess = p.argmax(1)
    theirs = cohen_kappa_score(truth, guess, weights="quadratic")
    assert quadratic_kappa(truth, guess, 3, w)[0] == pytest.approx(theirs)
    pairs = []
    for low in (0, 1):
        rows = np.isin(truth, [low, low + 1])
        pairs.append(roc_auc_score(truth[rows] == low + 1, p[rows, low + 1] / p[rows][:, [low, low + 1]].sum(1)))
    assert neighbour_auroc(truth, p, w, np.zeros(80, int))[0] == pytest.approx(np.mean(pairs))


def test_a_number_from_folds_to_metrics(world, tmp_path):
    target = Target("tmb", "number")
    result = predictions(world, target)
    assert list(result.rows["patient_id"].unique()).count("P003") == 0 and "1 of 120" in result.metadata["notes"][0]
    write_predictions(tmp_path / "p.parquet", result.rows, result.columns, result.metadata)
    rows, told = read_predictions(tmp_path / "p.parquet")
    assert told["target"] == {"name": "tmb", "kind": "number", "order": []}
    tables = score_predictions({"tmb": rows}, {("A", "tmb"): world[1]}, {("A", "cv3"): world[2]}, QUICK, [target])
    pooled = tables.metrics.query("fold == 'pooled' and protocol == 'linear'").set_index("metric")
    linear = rows[rows["protocol"] == "linear"]
    assert pooled.loc["r2", "value"] == pytest.approx(r2_score(linear["value_true"], linear["value"]))
    assert pooled.loc["r2", "value"] > 0.7 and pooled.loc["r2", "covers"] == "refits"
    assert (pooled["ci_low"] < pooled["value"])[["r2", "pearson", "spearman", "mae"]].all()
    few = tables.metrics.query("fold == 'pooled' and protocol == 'fewshot' and metric == 'r2'")
    assert few["covers"].item() == "draws, widened" and few["value"].item() < pooled.loc["r2", "value"]


def test_an_ordinal_target_from_folds_to_metrics(world):
    target = Target("grade", "ordinal", LEVELS)
    result = predictions(world, target)
    tables = score_predictions(
        {"grade": result.rows}, {("A", "grade"): world[1]}, {("A", "cv3"): world[2]}, QUICK, [target]
    )
    pooled = tables.metrics.query("fold == 'pooled' and protocol == 'linear'").set_index("metric")
    linear = result.rows[result.rows["protocol"] == "linear"]
    guess = [c[int(np.argmax(p))] for c, p in zip(linear["classes"], linear["probabilities"], strict=True)]
    codes = [[LEVELS.index(v) for v in values] for values in (linear["y_true"], guess)]
    assert pooled.loc["kappa_quadratic", "value"] == pytest.approx(cohen_kappa_score(*codes, weights="quadratic"))
    assert pooled.loc["kappa_quadratic", "covers"] == "refits, widened" and pooled.loc["kappa_quadratic", "value"] > 0.5
    assert 0.8 < pooled.loc["auroc_neighbours", "value"] < 1


def test_values_are_merged_left_out_and_thinned_with_an_account():
    table = pd.DataFrame({"patient_id": list("abcdefg"), "label": ["x", "x", "y", "z", "z", None, "q"]})
    settings = {"map": {"y": "x"}, "keep": ["x", "z"], "min_count": 3}
    out, flow = find_kind("class").apply(table, settings)
    assert out["label"].fillna("").tolist() == ["x", "x", "x", "", "", "", ""]
    assert [(row["kept"], row["dropped"]) for row in flow] == [(6, 0), (5, 1), (3, 2)]
    out, flow = find_kind("ordinal").apply(table, {"order": ["x", "z", "w"]})
    assert out["label"].notna().sum() == 4 and "no patient has the value 'w'" in flow[-1]["reason"]


def test_transforms_refuse_what_they_do_not_take():
    table = pd.DataFrame({"patient_id": ["a", "b"], "value": [3.0, -2.0]})
    assert find_kind("number").apply(table, {"transform": "none"})[0]["value"].tolist() == [3, -2]
    with pytest.raises(InputError, match="log1p does not take 1 values, such as -2"):
        find_kind("number").apply(table, {"transform": "log1p", "column": "TMB"})
    known, notes = who_takes_part(table.assign(value=1.0), Target("tmb", "number"))
    assert known.empty and "all 2 patients have the value 1" in notes[0]


@pytest.mark.parametrize("name", sorted(find_kinds()))
def test_strata_name_every_usable_patient(name, world):
    patients = world[1].assign(time_days=100.0 + np.arange(120), event=np.arange(120) % 2)
    rules = find_kind(name)
    assert ((rules.strata(patients) != "") == rules.usable(patients).to_numpy()).all()
