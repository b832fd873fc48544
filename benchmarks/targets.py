"""Many targets of real cohorts through the real workflow, expression alone, from one configuration each.

SCAN-B (400 breast cancers): PAM50, oestrogen, progesterone and HER2 receptor, grade, chemotherapy, age and overall
survival. TCGA-BRCA: the four endpoints of the TCGA clinical data resource. Every target has its baselines, its
few-shot draws and its intervals, in folds that all targets share.

Beside the workflow, plain logistic regression (C = 0.001, five stratified folds of its own, genes standardised and
clipped on the training patients) gives the figure that RNA logistic regression must not fall below by more than 0.005.
A dry run shows which steps a ninth target would need.

Ends with one line of JSON: {"scanb": {"<target>": {"<method>": {"metric", "value", "ci_low", "ci_high", "n"}}},
"brca": {...}, "macro_auroc": {"<target>": [workflow, plain]}, "new_target_runs": {"<rule>": jobs}, "seconds": {...}}
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
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

ROOT = Path(__file__).resolve().parents[1]
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
        "targets": {
            name.lower(): {"kind": "survival", "endpoint": name, "title": name} for name in ("OS", "DSS", "PFI", "DFI")
        },
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
        name += " 10-shot" if row.protocol == "fewshot" else ""
        values = {key: round(float(getattr(row, key)), 4) for key in ("value", "ci_low", "ci_high")}
        out.setdefault(row.task, {})[name] = {"metric": row.metric, **values, "n": int(row.n)}
    return out


def plain(data: Path, folds: int) -> dict[str, float]:
    """Macro AUROC of plain logistic regression on SCAN-B, pooled as mean over folds."""
    genes = pd.read_csv(data / "rna/scanb_log2fpkm.csv.gz", index_col=0).T
    clinical = pd.read_csv(data / "clinical/scanb.csv", index_col=0, dtype=str)
    out = {}
    for target, column in MACRO.items():
        y = clinical[column].reindex(genes.index).dropna()
        x, y = genes.loc[y.index].to_numpy(float), y.to_numpy(str)
        scores = []
        for train, test in StratifiedKFold(folds, shuffle=True, random_state=0).split(x, y):
            mean, sd = x[train].mean(0), x[train].std(0)
            sd = np.where(sd > 0, sd, np.inf)
            a, b = (np.clip((x[rows] - mean) / sd, -5, 5) for rows in (train, test))
            model = LogisticRegression(C=0.001, max_iter=2000).fit(a, y[train])
            p = model.predict_proba(b)
            each = [roc_auc_score(y[test] == c, p[:, k]) for k, c in enumerate(model.classes_) if (y[test] == c).any()]
            scores.append(np.mean(each))
        out[target] = round(float(np.mean(scores)), 4)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data (rna/, clinical/)")
    parser.add_argument("--cohorts", nargs="+", choices=["scanb", "brca"], default=["scanb", "brca"])
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder); results stay there")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=5, help="few-shot draws")
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--refits", type=int, default=100)
    parser.add_argument("--baselines", nargs="+", default=["rna_logistic", "rna_ridge", "rna_cox", "clinical"])
    parser.add_argument("--until", nargs="+", default=["results/metrics.tsv"], help="outputs to make; `all` for all")
    settings = parser.parse_args()
    data = settings.data.resolve()
    out: dict = {"seconds": {}}
    with tempfile.TemporaryDirectory() as scratch:
        base = (settings.folder or Path(scratch)).resolve()
        for cohort in settings.cohorts:
            config = configuration(cohort, data, settings)
            folder = base / cohort
            _, out["seconds"][cohort] = run(config, folder, settings.cores, *settings.until)
            print(f"{cohort}: {out['seconds'][cohort]:.0f} s", flush=True)
            kinds = {name: target["kind"] for name, target in config["cohorts"][cohort]["targets"].items()}
            metric = {"class": "auroc", "ordinal": "kappa_quadratic", "number": "r2", "survival": "c_index"}
            out[cohort] = pooled(folder / "results", {name: metric[kind] for name, kind in kinds.items()})
            print(json.dumps(out[cohort], indent=1), flush=True)
            if cohort != "scanb":
                continue
            macro = pooled(folder / "results", dict.fromkeys(MACRO, "auroc"))
            reference = plain(data, settings.folds)
            out["macro_auroc"] = {t: [macro[t]["rna_logistic logistic"]["value"], reference[t]] for t in MACRO}
            more = {"endocrine": receptor("endocrine_treated")}
            config["cohorts"][cohort]["targets"] |= more
            said, _ = run(config, folder, settings.cores, "--dry-run", *settings.until)
            out["new_target_runs"] = jobs_of(said)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
