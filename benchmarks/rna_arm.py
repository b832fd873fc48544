"""RNA-only baselines on real TCGA expression and the published folds.

    python benchmarks/rna_arm.py --data FOLDER [--baselines rna_logistic rna_cox ...]

FOLDER holds ``rna/tcga_{brca,coadread}_all_clean.csv.zip`` (z-scores, one row a slide) and
``splits/tcga_{brca,coadread}/splits_{0..4}.csv``. Z-scores are clipped to plus or minus 5
before anything is fitted; everything else is fitted on each fold's training patients. Printed
are mean and SD over folds, the pooled out-of-fold value with its 95 % interval, and the figures
of plain linear models on the same folds, with a fixed penalty, to compare with. The last line
is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from mirror.config.evaluation import EvaluationSettings
from mirror.evaluation.compute import score_predictions
from mirror.evaluation.evaluate import Names
from mirror.evaluation.supervised import evaluate_baseline

LABELS = {"brca": ("IDC", "ILC"), "coadread": ("COAD", "READ")}
PLAIN = {
    "brca": {"accuracy": 0.877, "balanced_accuracy": 0.687, "macro_f1": 0.728, "auroc": 0.905, "c_index": 0.616},
    "coadread": {"accuracy": 0.734, "balanced_accuracy": 0.523, "macro_f1": 0.476, "auroc": 0.759, "c_index": 0.606},
}
SHOWN = {
    "subtyping": ["accuracy", "balanced_accuracy", "macro_f1", "auroc"],
    "survival": ["c_index", "auc_mean", "ibs"],
}
Z_CLIP = 5.0
DAYS_A_MONTH = 365.25 / 12


def read_cohort(data: Path, cohort: str) -> tuple[pd.DataFrame, dict[str, np.ndarray], pd.DataFrame]:
    """Patients, their genes, and the published folds."""
    with zipfile.ZipFile(data / "rna" / f"tcga_{cohort}_all_clean.csv.zip") as archive:
        table = pd.read_csv(archive.open(archive.namelist()[0]), low_memory=False).drop_duplicates("case_id")
    genes = np.clip(table.filter(regex="_rnaseq$").to_numpy(np.float32), -Z_CLIP, Z_CLIP)
    patients = pd.DataFrame(
        {
            "patient_id": table["case_id"],
            "label": table["oncotree_code"].where(table["oncotree_code"].isin(LABELS[cohort])),
            "time_days": table["survival_months"] * DAYS_A_MONTH,
            "event": 1 - table["censorship"],
        }
    ).set_index("patient_id", drop=False)
    parts = []
    for path in sorted((data / "splits" / f"tcga_{cohort}").glob("splits_*.csv")):
        fold = pd.read_csv(path)
        for column, name in (("train", "train"), ("val", "test")):
            ids = fold[column].dropna()
            parts.append(pd.DataFrame({"patient_id": ids, "repeat": 0, "fold": int(path.stem[-1]), "set": name}))
    splits = pd.concat(parts, ignore_index=True)
    known = splits["patient_id"].isin(patients.index)
    return patients, dict(zip(table["case_id"], genes, strict=True)), splits[known]


def run(data: Path, cohort: str, baselines: list[str]) -> dict[str, dict[str, float]]:
    """Evaluate, print a table, return mean values over folds by baseline and metric."""
    patients, genes, splits = read_cohort(data, cohort)

    def expression(wanted):
        have = [p for p in wanted if p in genes]
        return np.stack([genes[p] for p in have]), have

    readers = {f"r0f{k}": expression for k in splits["fold"].unique()}
    settings = EvaluationSettings()
    frames: dict[str, list[pd.DataFrame]] = {}
    seconds: dict[str, float] = {}
    for name in baselines:
        for task in (task for task in SHOWN if task in _tasks(name)):
            start = time.perf_counter()
            names = Names(cohort, "none", "published", name)
            found = evaluate_baseline(name, patients, splits, task, names, settings, 42, expression=readers)
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
            frames.setdefault(task, []).append(found.rows)
    predictions = {task: pd.concat(parts, ignore_index=True) for task, parts in frames.items()}
    tables = score_predictions(predictions, {cohort: patients}, {(cohort, "published"): splits}, settings)
    means: dict[str, dict[str, float]] = {}
    for task, metrics in SHOWN.items():
        part = tables.metrics[tables.metrics["task"] == task]
        for method, rows in part.groupby("method"):
            pooled = rows[rows["fold"] == "pooled"].set_index("metric")
            folds = rows[rows["fold"] != "pooled"]
            counts = f"{pooled['n'].iloc[0]} patients" + (
                f", {pooled['events'].iloc[0]} events" if task == "survival" else ""
            )
            print(f"{cohort} {task} {method} ({counts}, {seconds[method]:.0f} s)")
            for metric in metrics:
                values = folds.loc[folds["metric"] == metric, "value"].astype(float)
                if not len(values):
                    continue
                means.setdefault(method, {})[metric] = round(float(values.mean()), 4)
                p = pooled.loc[metric]
                plain = PLAIN[cohort].get(metric)
                print(
                    f"  {metric:18s} {values.mean():.3f} +- {values.std(ddof=1):.3f} over folds; pooled "
                    f"{p['value']:.3f} [{p['ci_low']:.3f}, {p['ci_high']:.3f}]"
                    + (f"; plain linear model {plain:.3f}" if plain else "")
                )
    return means


def _tasks(name: str) -> tuple[str, ...]:
    from mirror.evaluation.baselines import find_baseline

    return find_baseline(name).tasks


def main() -> None:
    """Parse the command line and run both cohorts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with rna/ and splits/")
    parser.add_argument("--cohorts", nargs="+", default=list(LABELS), choices=list(LABELS))
    parser.add_argument("--baselines", nargs="+", default=["rna_logistic", "rna_cox", "rna_rsf", "rna_mlp"])
    arguments = parser.parse_args()
    found = {cohort: run(arguments.data, cohort, arguments.baselines) for cohort in arguments.cohorts}
    reached = {}
    for cohort, methods in found.items():
        for metric in ("accuracy", "auroc", "c_index"):
            values = [method[metric] for method in methods.values() if metric in method]
            if values:
                reached[f"{cohort}_{metric}"] = {"best": max(values), "plain": PLAIN[cohort][metric]}
    print(json.dumps({"means": found, "against_plain": reached}))


if __name__ == "__main__":
    main()
