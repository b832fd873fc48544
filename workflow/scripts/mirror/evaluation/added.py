"""What a score adds to clinical covariates: nested models in the same folds, on out-of-fold scores.

Every patient's score comes from a model that was not fitted on this patient (the prediction tables hold no other). In
each fold a linear model of the covariates alone and one of the covariates and the score are fitted on the training
patients and predict the test patients. The scores of training patients are out of fold too ("pre-validation",
Tibshirani and Efron 2002), so that the second model does not trust the score more than it deserves. Without any signal,
out-of-fold scores run against the outcome: a single score whose coefficient is negative is left out of its fold's
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2, norm

from ..baselines.covariates import Covariates
from ..baselines.fold_data import Unusable
from ..config.evaluation import EvaluationSettings
from ..core.reserved import CEILING
from ..heads.survival import NoModel
from ..io.splits import iterate_folds
from ..metrics.statistics import bootstrap_weights, holm, paired_bootstrap, percentile_interval
from ..metrics.survival import Censoring
from ..targets.base import who_takes_part
from ..targets.kind import COLUMN, Scoring
from ..targets.registry import Target
from .compare import TableRow, declared
from .uncertainty import UNREFITTED_SPREAD

FULL = ("linear", "supervised", "finetune")
C = 1.0
"""Inverse penalty of both nested models: weak, and the same for both."""
KEYS = ["cohort", "encoder", "scheme", "task", "method", "protocol", "modality", "head"]
COLUMNS = [
    *KEYS, "metric", "clinical", "clinical_low", "clinical_high", "with_score", "with_score_low", "with_score_high",
    "difference", "ci_low", "ci_high", "p", "p_holm", "hazard_ratio", "hr_low", "hr_high", "lr_p", "n", "events",
    "covariates", "note",
]  # fmt: skip
EPSILON = 1e-6


def scores_of(rows: pd.DataFrame, target: Target) -> pd.DataFrame:
    """One score or several per patient and repeat: logits of classes, risk, or the value.

    Parameters
    ----------
    rows : DataFrame
        Out-of-fold predictions of one method, protocol, modality and head.
    target : Target

    Returns
    -------
    DataFrame
        Index (repeat, patient_id); columns ``score_0`` ... Risks are standardised within a fold: those of two models
        have no common scale.
    """
    at = pd.MultiIndex.from_arrays([rows["repeat"], rows["patient_id"]], names=["repeat", "patient_id"])
    if target.kind == "survival":
        risk = rows.groupby(["repeat", "fold"])["risk"].transform(lambda r: (r - r.mean()) / (r.std() or 1.0))
        found = pd.DataFrame({"score_0": risk.to_numpy(float)}, index=at)
    elif target.kind == "number":
        found = pd.DataFrame({"score_0": rows["value"].to_numpy(float)}, index=at)
    else:
        names = sorted({str(c) for known in rows["classes"] for c in known})
        p = np.full((len(rows), len(names)), EPSILON)
        for i, (known, values) in enumerate(zip(rows["classes"], rows["probabilities"], strict=True)):
            p[i, [names.index(str(c)) for c in known]] = np.clip(values, EPSILON, None)
        logits = np.log(p[:, 1:]) - np.log(p[:, :1])
        found = pd.DataFrame(logits, index=at, columns=[f"score_{k}" for k in range(logits.shape[1])])
    return found.groupby(level=[0, 1]).mean()


def _nested_settings(settings: EvaluationSettings) -> EvaluationSettings:
    return settings.model_copy(
        update={
            "probe": settings.probe.model_copy(update={"C": [C], "solver": "lbfgs"}),
            "survival": settings.survival.model_copy(update={"cox_C": [C]}),
        }
    )


def nested_predictions(
    scores: pd.DataFrame,
    known: pd.DataFrame,
    splits: pd.DataFrame,
    target: Target,
    settings: EvaluationSettings,
    covariates: Sequence[str],
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Out-of-fold predictions by covariates alone, and by covariates and score, of the same patients.

    Parameters
    ----------
    scores : DataFrame
        See `scores_of`.
    known : DataFrame
        Patients with covariates and a usable outcome.
    splits, target, settings, covariates, seed

    Returns
    -------
    without, with_score : DataFrame
        Rows of predictions with ``repeat`` and ``fold``.
    used : list of str
        Covariates of any fold.
    """
    rules, fixed = target.rules, _nested_settings(settings)
    head = "cox" if target.kind == "survival" else rules.heads(settings)[0]
    parts: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
    used: dict[str, None] = {}
    only = list(rules.outcome)
    for fold in iterate_folds(splits):
        if fold.repeat not in scores.index.get_level_values(0):
            continue
        score = scores.loc[fold.repeat]
        train, test = (
            known.loc[[p for p in who if p in known.index and p in score.index]] for who in (fold.train, fold.test)
        )
        if not len(train) or not len(test) or rules.nothing_to_learn(train, target.name):
            continue
        clinical = Covariates().fit(train, covariates, train[only[0]] if len(only) == 1 else None)
        used |= dict.fromkeys(clinical.columns_)
        x, x_test = clinical.transform(train), clinical.transform(test)
        extra = score.loc[train.index].to_numpy(float), score.loc[test.index].to_numpy(float)
        try:
            plain = rules.head(head, fixed, seed).fit(x, rules.y(train))
            full = rules.head(head, fixed, seed).fit(np.c_[x, extra[0]], rules.y(train))
            both = [plain.prediction(x_test), full.prediction(np.c_[x_test, extra[1]])]
            if extra[0].shape[1] == 1 and np.ravel(full.coef_)[-1] < 0:
                both[1] = both[0]  # a score that has to be turned round adds nothing
        except NoModel:
            continue
        for place, prediction in zip(parts, both, strict=True):
            place.append(rules.rows(prediction, test).assign(repeat=fold.repeat, fold=fold.fold, task=target.name))
    if not parts[0]:
        return pd.DataFrame(), pd.DataFrame(), list(used)
    return pd.concat(parts[0], ignore_index=True), pd.concat(parts[1], ignore_index=True), list(used)


def _bootstrap(rows: pd.DataFrame, weights: np.ndarray, target: Target, scoring: Scoring) -> dict[str, np.ndarray]:
    """Metrics under the weights, mean over repeats."""
    found: dict[str, list[np.ndarray]] = {}
    for _, part in rows.groupby("repeat"):
        for name, values in target.rules.score(part, weights, scoring)[0].items():
            found.setdefault(name, []).append(values)
    return {name: np.mean(values, axis=0) for name, values in found.items()}


def hazard_of_score(
    scores: pd.DataFrame, known: pd.DataFrame, splits: pd.DataFrame, covariates: Sequence[str]
) -> dict[str, float]:
    """Hazard ratio per standard deviation of the out-of-fold risk, adjusted for the covariates; likelihood-ratio test.

    Cox regression stratified by fold (Breslow's ties), the risk averaged over repeats. Empty where it has no maximum.
    Scores of a cross-validation are not fixed covariates: without any signal their coefficient varies more than its
    nominal standard error says. The error is widened as intervals of models that are not refitted are, and the
    likelihood-ratio statistic divided by the square of the same factor (`mirror.evaluation.uncertainty`).
    """
    from statsmodels.duration.hazard_regression import PHReg

    mean = scores.groupby(level=1)["score_0"].mean()
    table = known.loc[[p for p in known.index if p in mean.index]]
    clinical = Covariates().fit(table, covariates)
    x = clinical.transform(table)
    x = x[:, x.std(axis=0) > 0]
    score = mean.loc[table.index].to_numpy(float)
    score = (score - score.mean()) / (score.std() or 1.0)
    fold = splits[(splits["set"] == "test") & (splits["repeat"] == splits["repeat"].min())]
    strata = table.index.map(fold.drop_duplicates("patient_id").set_index("patient_id")["fold"]).to_numpy()
    time, event = table["time_days"].to_numpy(float), table["event"].to_numpy(int)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    try:
        less, more = (
            PHReg(time, design, status=event, strata=strata, ties="breslow").fit(disp=0)
            for design in (x, np.c_[x, score])
        )
    except (np.linalg.LinAlgError, ValueError):
        return {}
    beta, error = float(more.params[-1]), UNREFITTED_SPREAD * float(more.bse[-1])
    if not np.isfinite([beta, error]).all() or error > 10 * UNREFITTED_SPREAD:
        return {}
    z = norm.isf(0.025)
    return {
        "hazard_ratio": float(np.exp(beta)),
        "hr_low": float(np.exp(beta - z * error)),
        "hr_high": float(np.exp(beta + z * error)),
        "lr_p": float(chi2.sf(max(0.0, 2 * (more.llf - less.llf)) / UNREFITTED_SPREAD**2, 1)),
    }


def added_value(
    predictions: pd.DataFrame,
    patients: pd.DataFrame,
    splits: pd.DataFrame,
    target: Target,
    settings: EvaluationSettings,
    covariates: Sequence[str],
    seed: int,
) -> pd.DataFrame:
    """What the declared row of each method adds to the covariates.

    Parameters
    ----------
    predictions : DataFrame
        All predictions of one target, cohort and scheme.
    patients : DataFrame
        Indexed by patient_id, with covariates and the target's outcome.
    splits : DataFrame
    target : Target
    settings : EvaluationSettings
    covariates : sequence of str
    seed : int

    Returns
    -------
    DataFrame
        `COLUMNS`: the primary metric of both models with percentile intervals over test patients, their difference
        with a paired interval, p, and p after Holm's correction over the methods of one patch encoder.
    """
    rules = target.rules
    known, _ = who_takes_part(patients, target)
    full = predictions[predictions["protocol"].isin(FULL) & ~predictions["modality"].isin(["clinical", "truth"])]
    full = full[full["method"] != CEILING]
    groups = [
        TableRow(dict(zip(KEYS, key, strict=True)), len(rows), None, rows, 0.0)
        for key, rows in full.fillna({"head": ""}).groupby(KEYS, sort=True)
    ]
    out: list[dict[str, Any]] = []
    for entry in declared(groups, settings.survival.models):
        scores = scores_of(entry.rows, target)
        try:
            parts = nested_predictions(scores, known, splits, target, settings, covariates, seed)
            note = "" if len(parts[0]) else "no fold allows both models"
        except Unusable as reason:
            parts, note = (pd.DataFrame(), pd.DataFrame(), []), str(reason)
        row: dict[str, Any] = {**entry.keys, "metric": rules.primary, "note": note, "covariates": ", ".join(parts[2])}
        if len(parts[0]):
            row |= _compared(parts[0], parts[1], target, settings, seed)
            if target.kind == "survival":
                row |= hazard_of_score(scores, known, splits, parts[2])
                if row.get("hazard_ratio", 1.0) < 1:
                    row["note"] = "the risk runs against the outcome"
        out.append(row)
    table = pd.DataFrame(out).reindex(columns=COLUMNS)
    for _, of_encoder in table.groupby("encoder", dropna=False):
        tested = of_encoder.index[of_encoder["p"].notna()]
        if len(tested):
            table.loc[tested, "p_holm"] = holm(table.loc[tested, "p"].to_numpy(float))
    return table


def _compared(
    without: pd.DataFrame, with_score: pd.DataFrame, target: Target, settings: EvaluationSettings, seed: int
) -> dict[str, Any]:
    """The primary metric of both models under the same resamples of patients, and their difference."""
    level = settings.statistics.level
    names = pd.factorize(without["patient_id"], sort=True)[1]
    place = {name: i for i, name in enumerate(names)}
    weights = bootstrap_weights(len(names), settings.statistics.bootstrap, seed)
    scoring = Scoring(settings)
    people = without.drop_duplicates("patient_id")
    if target.kind == "survival":
        scoring.everyone = Censoring.fit(people["time_days"].to_numpy(float), people["event"].to_numpy())
    primary = target.rules.primary
    found = [
        _bootstrap(rows.assign(**{COLUMN: rows["patient_id"].map(place)}), weights, target, scoring)
        for rows in (without, with_score)
    ]
    out: dict[str, Any] = {"n": len(names), "events": target.rules.events(people)}
    if any(primary not in values for values in found):
        return out | {"note": "the metric is not defined"}
    for name, values in zip(("clinical", "with_score"), found, strict=True):
        interval = percentile_interval(values[primary], level)
        out |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    gap = paired_bootstrap(found[1][primary], found[0][primary], level)
    if gap is not None:
        out |= {"difference": gap.value, "ci_low": gap.low, "ci_high": gap.high, "p": gap.p}
    return out
