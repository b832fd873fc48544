"""One repeat of the calibration: cohorts, real and simulated, and what the workflow prints of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from mirror.config.evaluation import EvaluationSettings
from mirror.core.protocols import is_fewshot
from mirror.evaluation import score
from mirror.evaluation.score import score_predictions
from mirror.evaluation.uncertainty import widen
from mirror.io.predictions import Names, stamp
from mirror.io.splits import iterate_folds
from mirror.metrics.statistics import percentile_interval
from mirror.metrics.survival import logrank
from mirror.targets.base import usable
from mirror.targets.fewshot import fewshot_settings, training_sets
from mirror.targets.fit import fit_task
from mirror.targets.registry import Target

WIDTH = 12
"""Principal components of either modality: enough to overfit with, few enough for hundreds of repeats."""
PRIMARY = {"subtyping": "auroc", "survival": "c_index"}
HEAD = {"subtyping": "logistic", "survival": "cox"}
SHOWN = {
    "subtyping": ["accuracy", "balanced_accuracy", "macro_f1", "auroc", "auprc", "kappa", "brier"],
    "survival": ["c_index", "c_index_uno", "auc_1096d", "auc_mean", "ibs"],
}
Features = dict[str, np.ndarray]


def settings_of(quick: bool, few: bool) -> EvaluationSettings:
    """The workflow's, with fewer resamples: a coverage is judged over repeats, not within one."""
    return EvaluationSettings(
        protocols=["linear", "fewshot"] if few else ["linear"],
        statistics={"bootstrap": 200 if quick else 400, "refits": 50 if quick else 100},
        survival={"models": ["cox"]},
    )


def components(x: np.ndarray, width: int = WIDTH) -> np.ndarray:
    """Principal components of standardised columns, (n, width)."""
    spread = x.std(0)
    z = (x - x.mean(0)) / np.where(spread > 0, spread, np.inf)
    left, values, _ = np.linalg.svd(z, full_matrices=False)
    return left[:, :width] * values[:width]


def real_cohort(data: Path) -> tuple[pd.DataFrame, Features, pd.DataFrame, np.ndarray]:
    """Patients, their two embeddings, the published folds, and the genes."""
    from rna_arm import read_cohort

    patients, genes, splits = read_cohort(data, "brca")
    slides = pd.read_parquet(data / "pairs" / "brca_hif.parquet")
    ids = [p for p in genes if p in slides.index]
    values = slides.loc[ids].to_numpy(float)
    values = np.where(np.isfinite(values), values, np.nanmedian(values, axis=0))
    values = norm.ppf((rankdata(values, axis=0) - 0.5) / len(values))
    expression = np.stack([genes[p] for p in ids]).astype(float)
    kept = splits[splits["patient_id"].isin(ids)].reset_index(drop=True)
    return patients.loc[ids], {"slides": components(values), "genes": components(expression)}, kept, expression


def simulated(
    seed: int,
    n: int = 300,
    noise: tuple[float, float] = (1.0, 1.0),
    effect: float = 1.0,
    repeats: int = 1,
    population: int | None = None,
) -> tuple[pd.DataFrame, Features, pd.DataFrame]:
    """A cohort whose two embeddings measure the same two factors, each with noise of its own.

    ``population`` seeds how embeddings measure the factors; without it every cohort has a way of its own.
    """
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n, 2))
    logit = effect * factor[:, 0] - 1.0
    hazard = np.exp(0.6 * effect * factor[:, 1] - 8.0)
    death, censored = rng.exponential(1 / hazard), rng.exponential(3000.0, n)
    ids = [f"P{i:04d}" for i in range(n)]
    patients = pd.DataFrame(
        {
            "patient_id": ids,
            "label": np.where(rng.random(n) < 1 / (1 + np.exp(-logit)), "b", "a"),
            "time_days": np.minimum(death, censored) + 1.0,
            "event": (death <= censored).astype(int),
        }
    ).set_index("patient_id", drop=False)
    fixed = rng if population is None else np.random.default_rng(population)
    loadings = fixed.normal(size=(2, WIDTH)) / np.sqrt(WIDTH)
    features = {
        name: 3 * factor @ loadings @ np.linalg.qr(fixed.normal(size=(WIDTH, WIDTH)))[0]
        + size * rng.normal(size=(n, WIDTH))
        for name, size in zip(("one", "two"), noise, strict=True)
    }
    return patients, features, folds_of(ids, rng, repeats)


def folds_of(ids: list[str], rng: np.random.Generator, repeats: int, folds: int = 5) -> pd.DataFrame:
    """Random folds."""
    parts = []
    for repeat in range(repeats):
        fold = rng.permutation(np.arange(len(ids)) % folds)
        for k in range(folds):
            names = np.where(fold == k, "test", "train")
            parts.append(pd.DataFrame({"patient_id": ids, "repeat": repeat, "fold": k, "set": names}))
    return pd.concat(parts, ignore_index=True)


def predict(
    task: str, patients: pd.DataFrame, features: Features, splits: pd.DataFrame, settings: EvaluationSettings, seed: int
) -> pd.DataFrame:
    """What `evaluate_embeddings` writes, from embeddings in memory that are the same in every fold."""
    known, place = usable(patients, task), {p: i for i, p in enumerate(patients.index)}
    parts = []
    for fold in iterate_folds(splits):
        train, test = ([p for p in part if p in known.index] for part in (fold.train, fold.test))
        for protocol, draw, chosen in training_sets(task, known.loc[train], fold.repeat, fold.fold, settings, seed):
            how = fewshot_settings(settings) if is_fewshot(protocol) else settings
            for name, x in features.items():
                a, b = (x[[place[p] for p in part]] for part in (chosen, test))
                rows, _ = fit_task(task, HEAD[task], a, known.loc[chosen], b, known.loc[test], how, seed)
                told = {"task": task, "protocol": protocol, "modality": "fused", "head": HEAD[task]}
                told |= {"repeat": fold.repeat, "fold": fold.fold, "draw": draw, "seed": seed}
                parts.append(stamp(rows, Names("C", "e", "s", name), **told))
    return pd.concat(parts, ignore_index=True)


def without_refits(
    task: str, rows: pd.DataFrame, patients: pd.DataFrame, splits: pd.DataFrame, settings: EvaluationSettings
) -> list[dict]:
    """The primary metric's interval over test patients alone, and widened as for models that are not refitted."""
    rows = rows.assign(**{score.COLUMN: pd.factorize(rows["patient_id"], sort=True)[0]})
    context = score._prepare(rows, patients, splits, settings, Target.of(task).rules)
    out = []
    for name, some in rows.groupby("method"):
        pooled, _ = score._replicates("", some, context)
        values = np.mean(pooled[PRIMARY[task]], axis=0)
        for label, drawn in (("patients only", values), ("widened", widen(values))):
            found = percentile_interval(drawn, settings.statistics.level)
            key = {"task": task, "protocol": label, "metric": PRIMARY[task], "method": name}
            out.append({"kind": "interval", **key, "value": found.value, "low": found.low, "high": found.high})
    return out


def one_repeat(
    patients: pd.DataFrame,
    features: Features,
    splits: pd.DataFrame,
    settings: EvaluationSettings,
    seed: int,
    tasks: tuple[str, ...] = ("subtyping", "survival"),
) -> list[dict]:
    """Pooled values, intervals and p values of one repeat as the workflow prints them, and those without refits."""
    out: list[dict] = []
    for task in tasks:
        rows = predict(task, patients, features, splits, settings, seed)
        found = score_predictions({task: rows}, {"C": patients}, {("C", "s"): splits}, settings)
        pooled = found.metrics[found.metrics["fold"].astype(str) == "pooled"].dropna(subset=["ci_low"])
        for row in pooled.itertuples():
            key = {"task": task, "protocol": row.protocol, "metric": row.metric, "method": row.method}
            out.append({"kind": "interval", **key, "value": row.value, "low": row.ci_low, "high": row.ci_high})
        compared = found.comparisons
        for row in compared[compared["metric"] == PRIMARY[task]].itertuples():
            key = {"task": task, "protocol": row.protocol_a, "method": row.method_a, "metric": row.metric}
            out.append({"kind": row.test, **key, "value": row.p})
        linear = rows[rows["protocol"] == "linear"]
        out += without_refits(task, linear, patients, splits, settings) if len(linear) else []
        if task == "survival":
            for name, some in linear.groupby("method"):
                some = some[some["repeat"] == 0]
                test = logrank(
                    some["time_days"].to_numpy(float), some["event"].to_numpy(), some["risk_group"].to_numpy()
                )
                if test:
                    out.append({"kind": "logrank", "method": name, "value": test[0], "low": test[1]})
    return out
