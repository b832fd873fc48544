"""Associations against known answers, on nothing, and on noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mirror.interpretation.associations import (
    fdr,
    gene_correlations,
    gene_set_association,
    outcome_association,
    univariate_cox,
)


def world(n=80, genes=60, seed=0):
    rng = np.random.default_rng(seed)
    people = [f"P{i}" for i in range(n)]
    score = rng.normal(size=n)
    x = rng.normal(size=(n, genes))
    x[:, :10] += 1.2 * score[:, None] * np.where(np.arange(10) % 3, 1, -1)  # a module of either sign
    expression = pd.DataFrame(x, index=people, columns=[f"G{i}" for i in range(genes)])
    scores = pd.DataFrame({"P01": score, "P02": rng.normal(size=n)}, index=people)
    return scores, expression


def masks(genes=60):
    at = np.arange(genes)
    return {"planted": at < 10, "other": (at >= 20) & (at < 30), "third": at >= 45}


def test_gene_correlation_is_spearmans():
    scores, expression = world()
    table = gene_correlations(scores, expression)
    for row in table.groupby("prototype").head(3).itertuples():
        r, p = stats.spearmanr(scores[row.prototype], expression[row.gene])
        assert row.r == pytest.approx(r)
        assert row.p == pytest.approx(p, rel=1e-6)


def test_planted_genes_and_set_are_found_and_the_others_not():
    scores, expression = world()
    genes = gene_correlations(scores, expression)
    found = genes[(genes["prototype"] == "P01") & (genes["fdr"] < 0.05)]["gene"]
    planted = {f"G{i}" for i in range(10)}
    assert planted <= set(found)
    assert len(set(found) - planted) <= 2
    sets = gene_set_association(scores, expression, masks()).set_index(["prototype", "gene_set"])
    assert sets.loc[("P01", "planted"), "fdr"] < 0.05
    assert sets.loc[("P01", "other"), "p"] > 0.05
    assert sets.loc[("P02", "planted"), "p"] > 0.01


def test_gene_set_p_values_hold_their_level_when_genes_are_correlated():
    rng = np.random.default_rng(3)
    people = [f"P{i}" for i in range(40)]
    hits = []
    for _ in range(60):
        shared = rng.normal(size=(40, 1))
        x = rng.normal(size=(40, 40))
        x[:, :10] += 2 * shared  # a tight module that has nothing to do with the score
        scores = pd.DataFrame({"P01": rng.normal(size=40)}, index=people)
        table = gene_set_association(scores, pd.DataFrame(x, index=people), {"m": np.arange(40) < 10})
        hits.append(table["p"].iloc[0] < 0.05)
    # Permuting genes instead would call about a half of these.
    assert np.mean(hits) < 0.15


def test_random_sets_pass_at_their_level_when_the_score_follows_something_real():
    """A permutation of patients calls a quarter of them: every set of genes goes with such a score a little."""
    rng = np.random.default_rng(4)
    n, g = 120, 400
    factor = rng.normal(size=(n, 4))
    people = [f"P{i}" for i in range(n)]
    genes = pd.DataFrame(0.6 * factor @ rng.normal(size=(4, g)) + rng.normal(size=(n, g)), index=people)
    hits = []
    for number in range(8):
        scores = pd.DataFrame({"P01": factor[:, number % 4] + rng.normal(size=n)}, index=people)
        sets = {f"S{k}": np.isin(np.arange(g), rng.choice(g, 20, replace=False)) for k in range(50)}
        hits.append((gene_set_association(scores, genes, sets)["p"] < 0.05).mean())
    assert 0.02 < np.mean(hits) < 0.08


def test_constant_genes_and_few_patients_give_no_nonsense():
    scores, expression = world()
    expression["G0"] = 1.0
    assert gene_correlations(scores, expression).set_index(["prototype", "gene"]).loc[("P01", "G0"), "r"] == 0
    assert gene_correlations(scores.head(4), expression).empty
    assert gene_set_association(scores.head(4), expression, masks()).empty


def test_fdr_is_benjamini_hochberg_and_passes_nan_over():
    assert fdr(np.array([0.01, np.nan, 0.04, 0.03])) == pytest.approx([0.03, np.nan, 0.04, 0.04], nan_ok=True)
    assert np.isnan(fdr(np.array([np.nan]))).all()


def test_cox_agrees_with_scikit_survival():
    from sksurv.datasets import load_veterans_lung_cancer
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    data, outcome = load_veterans_lung_cancer()
    x = data["Karnofsky_score"].to_numpy(float)
    event, time = outcome["Status"], outcome["Survival_in_days"]
    theirs = CoxPHSurvivalAnalysis(ties="breslow").fit(x[:, None], outcome).coef_[0]
    ours = univariate_cox(x, time, event)
    assert np.log(ours.ratio) == pytest.approx(theirs, abs=1e-4)
    assert ours.low < ours.ratio < ours.high < 1
    assert ours.p < 1e-8


def test_cox_says_nothing_where_nothing_can_be_said():
    time = np.arange(1.0, 11)
    assert univariate_cox(np.arange(10.0), time, np.zeros(10)) is None
    assert univariate_cox(np.ones(10), time, np.ones(10)) is None
    assert univariate_cox(-time, time, np.ones(10)) is None  # perfectly ordered: no finite maximum


def test_outcomes_two_classes_three_classes_and_none():
    scores, _ = world()
    n = len(scores)
    rng = np.random.default_rng(0)
    patients = pd.DataFrame(index=scores.index)
    patients["label"] = np.where(scores["P01"] + 0.5 * rng.normal(size=n) > 0, "b", "a")
    patients["time_days"] = rng.exponential(np.exp(-scores["P01"])) * 1000 + 1
    patients["event"] = 1
    two = outcome_association(scores, patients).set_index("prototype")
    assert two.loc["P01", "label_test"] == "AUROC of b"
    assert two.loc["P01", "label_value"] > 0.85
    assert two.loc["P01", "hr_low"] > 1.3
    assert two.loc["P02", "survival_p"] > 0.01
    three = outcome_association(scores, patients.assign(label=rng.choice(list("abc"), n)))
    assert set(three["label_test"]) == {"Kruskal-Wallis H"}
    nothing = outcome_association(scores, pd.DataFrame(index=scores.index))
    assert nothing[["label_p", "survival_p"]].isna().all().all()


def test_no_prototype_above_the_floors_gives_empty_tables():
    patients = [f"P{i}" for i in range(30)]
    nothing = pd.DataFrame(index=patients)
    expression = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 12)), index=patients)
    assert gene_correlations(nothing, expression).empty
    assert gene_set_association(nothing, expression, {"A": np.arange(12) < 5}).empty
