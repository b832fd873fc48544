"""What a score adds to clinical covariates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2
from statsmodels.duration.hazard_regression import PHReg

from mirror.baselines.covariates import Covariates, is_the_same
from mirror.config.evaluation import EvaluationSettings
from mirror.evaluation.added import COLUMNS, added_value, hazard_of_score, nested_predictions, scores_of
from mirror.report.figures.added import forest
from mirror.report.tables.added import texts_of, write_added
from mirror.targets.registry import Target

QUICK = EvaluationSettings.model_validate({"statistics": {"bootstrap": 200}})
N = 240


@pytest.fixture(scope="module")
def world():
    """Patients whose outcomes follow their age and one hidden score, and five folds."""
    rng = np.random.default_rng(0)
    names = [f"P{i:03d}" for i in range(N)]
    age, hidden = rng.normal(60, 10, N), rng.normal(size=N)
    risk = 0.06 * (age - 60) + 0.9 * hidden
    time = rng.exponential(900 * np.exp(-risk))
    limit = rng.uniform(300, 2500, N)
    patients = pd.DataFrame(
        {
            "patient_id": names, "age": age, "sex": rng.choice(["female", "male"], N),
            "time_days": np.minimum(time, limit) + 1, "event": (time <= limit).astype(int),
            "label": np.where(risk + rng.normal(size=N) > 0, "b", "a"), "value": risk + 0.5 * rng.normal(size=N),
        },
        index=names,
    )  # fmt: skip
    rows = [(n, 0, f, "test" if i % 5 == f else "train") for f in range(5) for i, n in enumerate(names)]
    return patients, pd.DataFrame(rows, columns=["patient_id", "repeat", "fold", "set"]), hidden, rng.normal(size=N)


def predicted(patients, target, score, method, modality="rna"):
    """Out-of-fold predictions whose score is given."""
    place = {"cohort": "A", "encoder": "none", "scheme": "s", "task": target.name, "method": method}
    head = {"class": "logistic", "survival": "cox", "number": "ridge"}[target.kind]
    rows = patients[["patient_id"]].assign(
        **place, protocol="supervised", modality=modality, head=head, repeat=0, fold=np.arange(N) % 5, draw=0, seed=0
    )
    if target.kind == "survival":
        return rows.assign(risk=score)
    if target.kind == "number":
        return rows.assign(value=score)
    p = 1 / (1 + np.exp(-score))
    return rows.assign(classes=[["a", "b"]] * N, probabilities=list(np.c_[1 - p, p]))


@pytest.mark.parametrize(
    "target", [Target("os", "survival"), Target("type", "class"), Target("size", "number")], ids=lambda t: t.kind
)
def test_a_score_that_knows_more_adds_and_noise_does_not(world, target):
    patients, splits, hidden, noise = world
    rows = pd.concat([predicted(patients, target, s, name) for name, s in (("good", hidden), ("noise", noise))])
    found = added_value(rows, patients, splits, target, QUICK, ("age", "sex"), 1).set_index("method")
    assert list(found.reset_index().columns.sort_values()) == sorted(COLUMNS)
    good, bad = found.loc["good"], found.loc["noise"]
    assert good["clinical"] == pytest.approx(bad["clinical"])
    assert good["difference"] == pytest.approx(good["with_score"] - good["clinical"])
    assert good["ci_low"] > 0 and good["p_holm"] < 0.01 and good["n"] == N
    assert bad["ci_low"] < 0.01 and bad["p_holm"] > 0.05
    assert good["covariates"] == "age, sex" and good["p_holm"] >= good["p"]
    if target.kind == "survival":
        assert good["hr_low"] > 1.5 and good["lr_p"] < 1e-4 and bad["hr_low"] < 1 < bad["hr_high"]
        assert good["events"] == patients["event"].sum()
    else:
        assert np.isnan(good["lr_p"])


def test_the_same_patients_are_predicted_by_both_and_a_test_patient_has_no_say(world):
    """Changing a test patient's outcome changes no prediction of its fold."""
    patients, splits, hidden, _ = world
    target = Target("type", "class")
    scores = scores_of(predicted(patients, target, hidden, "m"), target)
    args = (splits, target, QUICK, ("age",), 0)
    one, two, used = nested_predictions(scores, patients, *args)
    assert one["patient_id"].tolist() == two["patient_id"].tolist() and used == ["age"]
    other = patients.copy()
    other.loc["P000", "label"] = "a" if patients.loc["P000", "label"] == "b" else "b"
    again = nested_predictions(scores, other, *args)[1]
    first = two["fold"] == 0
    assert all(
        np.array_equal(a, b) for a, b in zip(two[first]["probabilities"], again[first]["probabilities"], strict=True)
    )


def test_risks_of_two_models_have_no_common_scale(world):
    """A fold whose risks are a hundred times larger changes no score."""
    patients, splits, hidden, _ = world
    target = Target("os", "survival")
    rows = predicted(patients, target, hidden, "m")
    scaled = rows.assign(risk=np.where(rows["fold"] == 2, 100 * rows["risk"] + 7, rows["risk"]))
    assert np.allclose(scores_of(rows, target), scores_of(scaled, target))
    found = hazard_of_score(scores_of(rows, target), patients, splits, ("age",))
    assert found["hr_low"] < found["hazard_ratio"] < found["hr_high"]


def test_a_score_that_has_to_be_turned_round_adds_nothing(world):
    patients, splits, hidden, _ = world
    for target in (Target("os", "survival"), Target("type", "class"), Target("size", "number")):
        found = added_value(predicted(patients, target, -hidden, "m"), patients, splits, target, QUICK, ("age",), 1)
        assert found["difference"].item() == 0 and found["p"].item() == 1


def test_a_covariate_that_is_the_target_is_left_out(world):
    patients, *_ = world
    age = patients["age"]
    assert is_the_same(age, 2 * age + 3) and not is_the_same(age, patients["value"])
    assert is_the_same(patients["sex"], patients["sex"].map({"female": "0", "male": "1"}))
    found = Covariates().fit(patients, ("age", "sex"), age)
    assert list(found.columns_) == ["sex"] and found.left_out_ == ["age"]


def test_table_and_figure_say_what_was_found(world, tmp_path):
    patients, splits, hidden, _ = world
    target = Target("os", "survival")
    found = added_value(predicted(patients, target, hidden, "good"), patients, splits, target, QUICK, ("age",), 1)
    bare = added_value(predicted(patients, target, hidden, "bare"), patients, splits, target, QUICK, ("grade",), 1)
    assert bare["difference"].isna().all() and "none of the clinical covariates" in bare["note"].item()
    both = pd.concat([found, bare])
    write_added(both, tmp_path, "what_it_adds", {}, {"os": "OS"})
    text = (tmp_path / "what_it_adds.md").read_text()
    assert f"{found['difference'].item():.3f}" in text and "| OS |" in text and "approximate" in text
    assert len(texts_of(both, {}, {})) == 2 and (tmp_path / "what_it_adds.html").read_text().count("<tr>") == 3
    assert forest(both, {}, {"os": "OS"}).axes[0].get_title(loc="left").startswith("A: OS (n = 240")
    assert forest(bare, {}, {}).axes


def test_the_hazard_ratio_of_a_cross_validated_score_is_widened(world):
    """Interval and test are those of a fixed covariate with an error larger by the square root of two."""
    patients, splits, hidden, _ = world
    score = scores_of(predicted(patients, Target("os", "survival"), hidden, "m"), Target("os", "survival"))
    found = hazard_of_score(score, patients, splits, ("age",))
    x = score.groupby(level=1)["score_0"].mean().loc[patients.index].to_numpy()
    age = (patients["age"] - patients["age"].mean()) / patients["age"].std(ddof=0)
    design = np.c_[age, (x - x.mean()) / x.std()]
    time, event, fold = patients["time_days"], patients["event"], np.arange(N) % 5
    full, bare = (
        PHReg(time, d, status=event, strata=fold, ties="breslow").fit(disp=0) for d in (design, design[:, :1])
    )
    assert found["hazard_ratio"] == pytest.approx(np.exp(full.params[1]))
    assert np.log(found["hr_high"] / found["hazard_ratio"]) == pytest.approx(1.96 * np.sqrt(2) * full.bse[1], rel=1e-3)
    assert found["lr_p"] == pytest.approx(chi2.sf(full.llf - bare.llf, 1), rel=1e-3)
