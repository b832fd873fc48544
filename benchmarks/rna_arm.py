"""The RNA arm on real TCGA expression and the published folds: baselines and MIRROR's RNA encoder.

    python benchmarks/rna_arm.py --data FOLDER [--pretrain mirror mirror_plus] [--baselines rna_cox ...]

FOLDER holds ``rna/tcga_{brca,coadread}_all_clean.csv.zip`` (z-scores, one row per slide) and
``splits/tcga_{brca,coadread}/splits_{0..4}.csv``. Z-scores are clipped to plus or minus 5
before anything is fitted; everything else is fitted on each fold's training patients.

``--pretrain`` adds MIRROR's RNA encoder under the linear probe: trained without labels in each
fold, on its training patients' RNA, by the variant's RNA retention alone (there are no slides
here; ``benchmarks/plasmode.py`` trains on pairs), and the same encoder as it is initialised, to
tell what the training adds. A table a cohort has every row with the mean over folds and the
pooled out-of-fold value with its 95 % interval, beside plain linear models with a fixed penalty
on the same folds. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sksurv.linear_model import CoxnetSurvivalAnalysis
from sksurv.util import Surv

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from mirror.baselines import find_baseline
from mirror.baselines.run import evaluate_baseline
from mirror.config.evaluation import EvaluationSettings
from mirror.config.pretrain import PretrainSettings
from mirror.config.variants import read_presets, variant_settings
from mirror.evaluation.score import score_predictions
from mirror.heads.scaling import Scaling, Standardiser
from mirror.heads.survival import time_grid
from mirror.io.predictions import Names, stamp
from mirror.io.splits import iterate_folds
from mirror.plan.targets import SHORT
from mirror.targets.base import usable
from mirror.targets.classes import subtyping_rows
from mirror.targets.fit import fit_task, heads_of
from mirror.targets.survival import survival_rows

PRESETS = Path(__file__).resolve().parents[1] / "config" / "variants.yaml"
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
UNTRAINED = "untrained"
PLAIN_NAME = "plain linear model, fixed penalty"


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


def retention_settings(variant: str, width: int, epochs: int) -> PretrainSettings:
    """The variant's settings with RNA retention as the only loss, in a size that fits a cohort of some hundreds."""
    base = PretrainSettings(
        model={"embed_dim": width, "rna_heads": 4, "slide_heads": 4, "style_dim": 8, "style_hidden": (8, 8),
               "prototypes": 8, "tokens": 4},
        train={"epochs": epochs, "batch_size": 32, "lr": 3e-4, "schedule": "cosine"},
    )  # fmt: skip
    settings = variant_settings(variant, None, base, read_presets(PRESETS))
    retention = settings.retention.model_copy(update={"slide_weight": 0.0, "orthogonality_weight": 0.0})
    style = settings.style.model_copy(update={"style_weight": 0.0, "cluster_weight": 0.0})
    return settings.model_copy(update={"retention": retention, "style": style})


def embed(x: np.ndarray, everyone: np.ndarray, settings: PretrainSettings, seed: int, train: bool) -> np.ndarray:
    """Train the RNA encoder on ``x`` (n, G) by retention, or leave it as initialised; embed ``everyone``."""
    import torch

    from mirror.model.losses import compute_losses
    from mirror.model.mirror import build_model
    from mirror.training.step import learning_rate, make_optimizer

    torch.manual_seed(seed)
    model = build_model(settings, x.shape[1], feature_width=1)
    rows, plan = torch.from_numpy(x), settings.train
    optimizer = make_optimizer(model, plan)
    steps = len(rows) // plan.batch_size
    updates = plan.epochs * steps if train else 0
    model.train()
    for update in range(updates):
        if update % steps == 0:
            order = torch.randperm(len(rows))
        batch = order[update % steps * plan.batch_size :][: plan.batch_size]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(update, updates, steps, plan)
        optimizer.zero_grad()
        model.before_step()
        compute_losses(model(None, rows[batch]), settings)["total"].backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return model.encode_rna(torch.from_numpy(everyone)).numpy()


def probe_encoder(
    variants: Sequence[str],
    patients: pd.DataFrame,
    genes: dict[str, np.ndarray],
    splits: pd.DataFrame,
    settings: EvaluationSettings,
    names: Names,
    arguments: argparse.Namespace,
) -> dict[str, list[pd.DataFrame]]:
    """Linear probes of the RNA encoder in every fold, by task."""
    frames: dict[str, list[pd.DataFrame]] = {task: [] for task in SHOWN}
    for fold in iterate_folds(splits):
        train, test = ([p for p in part if p in genes] for part in (fold.train, fold.test))
        raw = np.stack([genes[p] for p in (*train, *test)])
        scaler = Standardiser.fit(raw[: len(train)], Scaling(Z_CLIP), rotate=False)
        x = scaler(raw).astype(np.float32)
        for variant in (*variants, UNTRAINED):
            chosen = retention_settings(
                variants[0] if variant == UNTRAINED else variant, arguments.width, arguments.epochs
            )
            seed = arguments.seed + 1000 * fold.fold
            z = embed(x[: len(train)], x, chosen, seed, train=variant != UNTRAINED)
            place = {patient: row for row, patient in enumerate((*train, *test))}
            for task in SHOWN:
                known = usable(patients, task)
                parts = [[p for p in part if p in known.index] for part in (train, test)]
                a, b = (z[[place[p] for p in part]] for part in parts)
                for head in heads_of(task, settings):
                    rows, _ = fit_task(
                        task, head, a, known.loc[parts[0]], b, known.loc[parts[1]], settings, arguments.seed
                    )
                    stamped = stamp(rows, Names(names.cohort, names.encoder, names.scheme, f"{variant} RNA encoder"),
                                    task=task, protocol="linear", modality="rna", head=head, repeat=fold.repeat,
                                    fold=fold.fold, draw=0, seed=arguments.seed)  # fmt: skip
                    frames[task].append(stamped)
    return frames


def plain_models(
    patients: pd.DataFrame, genes: dict[str, np.ndarray], splits: pd.DataFrame, names: Names, seed: int
) -> dict[str, list[pd.DataFrame]]:
    """The yardstick: linear models of a fixed penalty (logistic: C 0.001; Cox: alpha 0.5, L1 share 0.01)."""
    frames: dict[str, list[pd.DataFrame]] = {task: [] for task in SHOWN}
    for fold in iterate_folds(splits):
        for task, parts in frames.items():
            known = usable(patients, task)
            train, test = (
                known.loc[[p for p in part if p in genes and p in known.index]] for part in (fold.train, fold.test)
            )
            raw, raw_test = (np.stack([genes[p] for p in part.index]) for part in (train, test))
            scaler = Standardiser.fit(raw, rotate=False)
            x, x_test = scaler(raw), scaler(raw_test)
            if task == "subtyping":
                model = LogisticRegression(C=0.001, max_iter=5000).fit(x, train["label"].to_numpy(str))
                rows = subtyping_rows(
                    test.index, test["label"].to_numpy(str), model.classes_, model.predict_proba(x_test)
                )
            else:
                days, event = train["time_days"].to_numpy(float), train["event"].to_numpy(float) == 1
                model = CoxnetSurvivalAnalysis(l1_ratio=0.01, alphas=[0.5], fit_baseline_model=True)
                model.fit(x, Surv.from_arrays(event, days))
                at = time_grid(days)
                curves = np.stack(
                    [curve(np.clip(at, *curve.domain)) for curve in model.predict_survival_function(x_test)]
                )
                rows = survival_rows(test.index, test["time_days"].to_numpy(float), test["event"].to_numpy(float),
                                     model.predict(x_test), float(np.median(model.predict(x))), at, curves)  # fmt: skip
            named = Names(names.cohort, names.encoder, names.scheme, PLAIN_NAME)
            parts.append(stamp(rows, named, task=task, protocol="supervised", modality="rna", head="fixed",
                               repeat=fold.repeat, fold=fold.fold, draw=0, seed=seed))  # fmt: skip
    return frames


def run(cohort: str, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Evaluate, print a table, return mean values over folds by row and metric."""
    patients, genes, splits = read_cohort(arguments.data, cohort)

    def expression(wanted):
        have = [p for p in wanted if p in genes]
        return np.stack([genes[p] for p in have]), have

    readers = {f"r0f{k}": expression for k in splits["fold"].unique()}
    settings = EvaluationSettings()
    frames: dict[str, list[pd.DataFrame]] = {task: [] for task in SHOWN}
    start = time.perf_counter()
    for name in arguments.baselines:
        for task in (t for t, kind in SHORT.items() if kind in find_baseline(name).kinds):
            names = Names(cohort, "none", "published", name)
            found = evaluate_baseline(name, patients, splits, task, names, settings, arguments.seed, expression=readers)
            frames[task].append(found.rows)
    if arguments.pretrain:
        names = Names(cohort, "none", "published", "")
        for task, rows in probe_encoder(
            arguments.pretrain, patients, genes, splits, settings, names, arguments
        ).items():
            frames[task] += rows
    for task, rows in plain_models(
        patients, genes, splits, Names(cohort, "none", "published", ""), arguments.seed
    ).items():
        frames[task] += rows
    predictions = {task: pd.concat(parts, ignore_index=True) for task, parts in frames.items() if parts}
    metrics = score_predictions(predictions, {cohort: patients}, {(cohort, "published"): splits}, settings).metrics
    means: dict[str, dict[str, float]] = {}
    for task, shown in SHOWN.items():
        part = metrics[(metrics["task"] == task) & metrics["metric"].isin(shown)]
        if not len(part):
            continue
        sizes = part[part["fold"] == "pooled"].iloc[0]
        events = f", {sizes['events']} events" if task == "survival" else ""
        print(f"\n{cohort} {task}: {sizes['n']} patients{events}; mean over folds; pooled value [95 % interval]")
        table = {}
        for (method, head), rows in part.groupby(["method", "head"], sort=False):
            name = f"{method} ({head})"
            means[name] = means.get(name, {})
            table[f"{name}; {_trained(method)}"] = {m: _cell(rows[rows["metric"] == m], m, means[name]) for m in shown}
        table["the same, as known for these data"] = {m: f"{PLAIN[cohort].get(m, '')}" for m in shown}
        print(pd.DataFrame(table).T.to_markdown())
    print(f"{time.perf_counter() - start:.0f} s", flush=True)
    return means


def _cell(rows: pd.DataFrame, metric: str, means: dict[str, float]) -> str:
    pooled = rows[rows["fold"] == "pooled"].iloc[0]
    values = rows.loc[rows["fold"] != "pooled", "value"].astype(float)
    means[metric] = round(float(values.mean()), 4)
    return f"{values.mean():.3f}; {pooled['value']:.3f} [{pooled['ci_low']:.3f}, {pooled['ci_high']:.3f}]"


def _trained(method: str) -> str:
    if not method.endswith("RNA encoder"):
        return "trained on the task"
    return "initial weights" if method.startswith(UNTRAINED) else "RNA retention alone, linear probe"


def main() -> None:
    """Parse the command line and run the cohorts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with rna/ and splits/")
    parser.add_argument("--cohorts", nargs="+", default=list(LABELS), choices=list(LABELS))
    parser.add_argument("--baselines", nargs="*", default=["rna_logistic", "rna_cox", "rna_rsf", "rna_mlp"])
    parser.add_argument(
        "--pretrain", nargs="*", default=[], metavar="VARIANT",
        help="variants of config/variants.yaml whose RNA encoder is trained by retention alone and probed",
    )  # fmt: skip
    parser.add_argument("--width", type=int, default=128, help="embedding width of the encoder")
    parser.add_argument("--epochs", type=int, default=60, help="epochs of pre-training")
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    found = {cohort: run(cohort, arguments) for cohort in arguments.cohorts}
    reached = {}
    for cohort, methods in found.items():
        for metric in ("accuracy", "auroc", "c_index"):
            rows = {name: row for name, row in methods.items() if not name.startswith(PLAIN_NAME)}
            values = [row[metric] for row in rows.values() if metric in row]
            if values:
                reached[f"{cohort}_{metric}"] = {"best": max(values), "plain": PLAIN[cohort][metric]}
    print(json.dumps({"means": found, "against_plain": reached}))


if __name__ == "__main__":
    main()
