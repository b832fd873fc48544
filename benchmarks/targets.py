"""Many targets of real cohorts through the real workflow, from one configuration each.

SCAN-B (400 breast cancers): PAM50, oestrogen, progesterone and HER2 receptor, grade, chemotherapy, age and overall
survival. TCGA-BRCA: the four endpoints of the TCGA clinical data resource. Both on expression alone. Every target has
its baselines, its few-shot draws and its intervals, in folds that all targets share. With --pairs also TCGA-BRCA with
slide features: the four endpoints and histology from one pre-training per fold.

The yardstick of RNA logistic regression is plain logistic regression (C = 0.001, genes standardised and clipped on the
training patients). In the folds of the workflow it must not be better by more than 0.005 in macro AUROC. Three draws of
stratified folds of its own (--quick: one) show how far the figure depends on the folds. All are means over folds of the
macro AUROC as scikit-learn computes it.
A dry run shows which steps a ninth target would need.

Needs rna/ and clinical/ of the data folder, with --pairs also pairs/. --quick takes three folds, one few-shot draw,
200 resamples and no refits: a check that everything works, not a measurement.

Prints a table in Markdown and ends with one line of JSON: {"scanb": {"<target>": {"<method>": {"metric", "value",
"ci_low", "ci_high", "n"}}}, "brca": {...}, "brca_pairs": {...}, "macro_auroc": {"<target>": {"workflow",
"plain_same_folds", "plain_own_folds": [...]}}, "models": pre-trained models of brca_pairs, "new_target_runs":
{"<rule>": jobs}, "seconds": {...}}
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from real_pairs import ENCODER, MIN_LABEL_COUNT, MODEL, prepare
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

ROOT = Path(__file__).resolve().parents[1]
ENDPOINTS = ("OS", "DSS", "PFI", "DFI")
METRIC = {"class": "auroc", "ordinal": "kappa_quadratic", "number": "r2", "survival": "c_index"}
MACRO = {"pam50": "pam50_subtype", "er": "er_status", "pgr": "pgr_status", "her2": "her2_status", "grade": "nhg"}


def receptor(column: str) -> dict:
    """A class target of SCAN-B."""
    return {"kind": "class", "column": column}


def configuration(cohort: str, data: Path, settings: argparse.Namespace) -> dict:
    """The configuration of one cohort."""
    scanb = {
        "expression": {"path": str(data / "rna/scanb_log2fpkm.csv.gz")},
        "clinical": {
            "path": str(data / "clinical/scanb.csv"),
            "format": "table",
            "patient": "sample",
            "covariates": ["age_at_diagnosis"],
        },
        "targets": {
            "pam50": {**receptor("pam50_subtype"), "title": "PAM50"},
            "er": {**receptor("er_status"), "title": "ER"},
            "pgr": {**receptor("pgr_status"), "title": "PgR"},
            "her2": {**receptor("her2_status"), "title": "HER2"},
            "grade": {"kind": "ordinal", "column": "nhg", "order": ["G1", "G2", "G3"]},
            "chemotherapy": receptor("chemo_treated"),
            "age": {"kind": "number", "column": "age_at_diagnosis"},
            "os": {
                "kind": "survival",
                "time": "overall_survival_days",
                "event": "overall_survival_event",
                "time_unit": "days",
                "event_is": "1_event",
                "title": "OS",
            },
        },
    }
    brca = {
        "expression": {"path": str(data / "rna/tcga_brca_all_clean.csv.zip")},
        "clinical": {"path": str(data / "clinical/TCGA-CDR.csv"), "format": "tcga_cdr"},
        "targets": {name.lower(): {"kind": "survival", "endpoint": name, "title": name} for name in ENDPOINTS},
    }
    return {
        "title": f"Targets of {cohort}",
        "seed": 7,
        "cohorts": {cohort: {"scanb": scanb, "brca": brca}[cohort]},
        "rna": {"selection": {"method": "all"}},
        "splits": {"cv5": {"folds": settings.folds}},
        "evaluation": {
            "protocols": ["linear", "fewshot"],
            "fewshot": {"k": 10, "draws": settings.draws},
            "baselines": settings.baselines,
            "statistics": {"bootstrap": settings.bootstrap, "refits": settings.refits},
        },
    }


def with_pairs(config: dict, data: Path, folder: Path, settings: argparse.Namespace) -> dict:
    """The configuration of TCGA-BRCA with slide features: one more target, and pre-training."""
    folder.mkdir(parents=True, exist_ok=True)
    cohort = config["cohorts"]["brca"]
    paired = prepare(data, folder, "brca")
    targets = {
        "histology": {"kind": "class", "column": "histological_type", "min_count": MIN_LABEL_COUNT},
        **cohort["targets"],
    }
    evaluation = {
        **config["evaluation"],
        "modalities": ["fused"],
        "baselines": ["rna_logistic", "rna_cox", "slide_mean", "clinical"],
        "baseline": {"slide_scaling": "ranks"},
        "survival": {"models": ["cox"]},
    }
    return {
        **config,
        "title": "Targets of brca with slide features",
        "cohorts": {
            "brca": {**cohort, "samples": paired["samples"], "features": paired["features"], "targets": targets}
        },
        "slides": {"slides_per_job": 1000},
        "encoders": [],
        "pretrain": {
            "model": MODEL,
            "train": {"epochs": settings.epochs, "batch_size": 32, "lr": 0.0003, "workers": 0},
        },
        "variants": {"mirror_plus": {}},
        "evaluation": evaluation,
        "interpretation": {"variants": []},
    }


def run(config: dict, folder: Path, cores: int, *arguments: str) -> tuple[str, float]:
    """Run the workflow on a configuration; its output and seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    start = time.perf_counter()
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), *arguments, "--snakefile", ROOT / "Snakefile"]
    command += ["--directory", folder, "--workflow-profile", ROOT / "profiles" / "default", "--configfile", file]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"the workflow failed:\n{done.stdout[-6000:]}")
    return done.stdout, time.perf_counter() - start


def jobs_of(said: str) -> dict[str, int]:
    """Jobs of a dry run by rule."""
    jobs: dict[str, int] = {}
    for line in said.partition("Job stats:")[2].splitlines()[3:]:
        parts = line.split()
        if len(parts) != 2 or not parts[1].isdigit():
            break
        jobs[parts[0]] = int(parts[1])
    return {name: n for name, n in jobs.items() if name not in ("total", "all")}


def pooled(results: Path, primary: dict[str, str]) -> dict:
    """The primary metric of every target and method, all training patients."""
    table = pd.read_csv(results / "metrics.tsv", sep="\t", dtype={"fold": str})
    out: dict = {}
    for row in table[(table["fold"] == "pooled")].itertuples():
        if row.task not in primary or row.metric != primary[row.task]:
            continue
        name = " ".join(filter(None, [row.method, "" if pd.isna(row.head) else str(row.head)]))
        name += " few-shot" if row.protocol == "fewshot" else ""
        values = {key: round(float(getattr(row, key)), 4) for key in ("value", "ci_low", "ci_high")}
        out.setdefault(row.task, {})[name] = {"metric": row.metric, **values, "n": int(row.n)}
    return out


def macro_auroc(truth: np.ndarray, p: np.ndarray, classes: list[str]) -> float:
    """Mean over classes of the area under the ROC curve, one class against the rest."""
    return float(np.mean([roc_auc_score(truth == c, p[:, k]) for k, c in enumerate(classes) if (truth == c).any()]))


def compare_plain(data: Path, results: Path, folds: int, draws: int) -> dict[str, dict]:
    """Macro AUROC of RNA logistic regression in the workflow and of plain logistic regression, means over folds.

    ``draws`` is how often plain logistic regression draws ``folds`` folds of its own.
    """
    genes = pd.read_csv(data / "rna/scanb_log2fpkm.csv.gz", index_col=0).T
    clinical = pd.read_csv(data / "clinical/scanb.csv", index_col=0, dtype=str)
    out = {}
    for target, column in MACRO.items():
        rows = pd.read_parquet(results / "predictions/scanb/none/cv5" / target / "rna_logistic.parquet")
        rows = rows[rows["protocol"] == "supervised"]
        parts = [part for _, part in rows.groupby("fold")]
        own = [
            macro_auroc(part["y_true"].to_numpy(str), np.stack(part["probabilities"]), list(part["classes"].iloc[0]))
            for part in parts
        ]
        y = clinical[column].reindex(genes.index).dropna()
        x, names, y = genes.loc[y.index].to_numpy(float), y.index, y.to_numpy(str)
        tested = [np.flatnonzero(names.isin(part["patient_id"])) for part in parts]
        same = [(np.setdiff1d(np.arange(len(y)), test), test) for test in tested]
        others = [list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y)) for seed in range(draws)]
        out[target] = {
            "workflow": round(float(np.mean(own)), 4),
            "plain_same_folds": plain(x, y, same),
            "plain_own_folds": [plain(x, y, splits) for splits in others],
        }
    return out


def plain(x: np.ndarray, y: np.ndarray, splits: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Macro AUROC of plain logistic regression, mean over folds."""
    scores = []
    for train, test in splits:
        mean, sd = x[train].mean(0), x[train].std(0)
        sd = np.where(sd > 0, sd, np.inf)
        a, b = (np.clip((x[rows] - mean) / sd, -5, 5) for rows in (train, test))
        # An L2 penalty depends on inner products alone: in the space of the training patients the solution is the same.
        size, left = np.linalg.eigh(a @ a.T)
        kept = size > 1e-8 * size[-1]
        space = a.T @ left[:, kept] / np.sqrt(size[kept])
        model = LogisticRegression(C=0.001, max_iter=2000).fit(a @ space, y[train])
        scores.append(macro_auroc(y[test], model.predict_proba(b @ space), list(model.classes_)))
    return round(float(np.mean(scores)), 4)


def markdown(found: dict) -> str:
    """One row per target: every method's value with its interval."""
    lines = ["| cohort | target | patients | metric | method: value (interval) |", "|---|---|---|---|---|"]
    for cohort in ("scanb", "brca", "brca_pairs"):
        for target, methods in found.get(cohort, {}).items():
            first = next(iter(methods.values()))
            cells = [f"{m} {v['value']:.3f} ({v['ci_low']:.3f} to {v['ci_high']:.3f})" for m, v in methods.items()]
            lines.append(f"| {cohort} | {target} | {first['n']} | {first['metric']} | {'; '.join(cells)} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """Command line, with what --quick changes filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data (rna/, clinical/, pairs/)")
    parser.add_argument("--cohorts", nargs="*", choices=["scanb", "brca"], default=["scanb", "brca"])
    parser.add_argument("--pairs", action="store_true", help="also TCGA-BRCA with slide features and pre-training")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder); results stay there")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--folds", type=int, help="folds (5)")
    parser.add_argument("--draws", type=int, help="few-shot draws (5)")
    parser.add_argument("--bootstrap", type=int, help="resamples of the test patients (1000)")
    parser.add_argument("--refits", type=int, help="resamples of the training patients (100)")
    parser.add_argument("--epochs", type=int, help="epochs of pre-training (10)")
    parser.add_argument("--baselines", nargs="+", default=["rna_logistic", "rna_ridge", "rna_cox", "clinical"])
    parser.add_argument("--until", nargs="+", default=["results/metrics.tsv"], help="outputs to make; `all` for all")
    parser.add_argument("--quick", action="store_true", help="fewer folds, draws and resamples")
    settings = parser.parse_args()
    full, quick = (5, 5, 1000, 100, 10), (3, 1, 200, 0, 2)
    names = ("folds", "draws", "bootstrap", "refits", "epochs")
    for name, value in zip(names, quick if settings.quick else full, strict=True):
        if getattr(settings, name) is None:
            setattr(settings, name, value)
    return settings


def main() -> None:
    """Run it."""
    settings = parse()
    data = settings.data.resolve()
    out: dict = {"seconds": {}}
    with tempfile.TemporaryDirectory() as scratch:
        base = (settings.folder or Path(scratch)).resolve()
        for name in [*settings.cohorts, *(["brca_pairs"] if settings.pairs else [])]:
            cohort, folder = name.removesuffix("_pairs"), base / name
            config = configuration(cohort, data, settings)
            if name == "brca_pairs":
                config = with_pairs(config, data, folder, settings)
            _, out["seconds"][name] = run(config, folder, settings.cores, *settings.until)
            print(f"{name}: {out['seconds'][name]:.0f} s", flush=True)
            kinds = {target: value["kind"] for target, value in config["cohorts"][cohort]["targets"].items()}
            out[name] = pooled(folder / "results", {target: METRIC[kind] for target, kind in kinds.items()})
            if name == "brca_pairs":
                out["models"] = len(list((folder / "results").glob(f"models/brca/{ENCODER}/cv5/*/*.safetensors")))
            if name != "scanb":
                continue
            out["macro_auroc"] = compare_plain(data, folder / "results", settings.folds, 1 if settings.quick else 3)
            config["cohorts"][cohort]["targets"]["endocrine"] = receptor("endocrine_treated")
            said, _ = run(config, folder, settings.cores, "--dry-run", *settings.until)
            out["new_target_runs"] = jobs_of(said)
    print(markdown(out))
    print(json.dumps(out))


if __name__ == "__main__":
    main()
