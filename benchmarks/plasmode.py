#!/usr/bin/env python3
"""The whole workflow on real RNA, labels, survival and published splits, with plasmode patch features.

DATA is a folder with rna/tcga_{cohort}_all_clean.csv.zip (PORPOISE's tables) and
splits/tcga_{cohort}/splits_{0..4}.csv. No slides can be had for these patients here, so patch
features are simulated: a part follows the real RNA's leading components, a part is the slide's
own and tells nothing (mirror.simulation.plasmode). Every cohort is therefore named *_plasmode.

The script writes features and a configuration into OUT, runs the workflow there, prints its
tables, and ends with one line of JSON: for each cohort and method the mean over the published
folds of accuracy, AUROC and C-index, beside the linear baselines known for these data.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from mirror.config.sources import ExpressionSource  # noqa: E402
from mirror.core.atomic import write_text, write_tsv  # noqa: E402
from mirror.readers.expression import read_expression  # noqa: E402
from mirror.simulation.plasmode import PlasmodeSettings, draw_bags, leading_factors, write_bags  # noqa: E402

# Plain linear models on these data and splits (z-scores clipped to +-5): what to compare with.
LINEAR = {
    "brca": {"accuracy": 0.877, "auroc": 0.905, "c_index": 0.616},
    "coadread": {"accuracy": 0.734, "auroc": 0.759, "c_index": 0.606},
}
# Rarer labels count as missing, which leaves IDC against ILC and COAD against READ, as those baselines
# have it; their patients stay for survival and pre-training.
MIN_LABEL_COUNT = 50
WANTED = {"accuracy": "subtyping", "macro_f1": "subtyping", "auroc": "subtyping", "c_index": "survival"}


def prepare(data: Path, out: Path, cohort: str, settings: PlasmodeSettings) -> dict:
    """Draw a cohort's features and return its section of the configuration."""
    table = data / "rna" / f"tcga_{cohort}_all_clean.csv.zip"
    adata, _ = read_expression(ExpressionSource(path=str(table), format="porpoise"))
    folder = out / "features" / cohort
    folder.mkdir(parents=True, exist_ok=True)
    slides = [f"{patient}-plasmode" for patient in adata.obs_names]
    write_bags(folder, slides, draw_bags(leading_factors(np.asarray(adata.X), settings.factors), settings))
    samples = pd.DataFrame({"slide_id": slides, "patient_id": list(adata.obs_names), "slide_path": ""})
    write_tsv(out / f"{cohort}_samples.tsv", samples)
    return {
        "title": f"{cohort.upper()} (plasmode slides)",
        "samples": str(out / f"{cohort}_samples.tsv"),
        "expression": {"path": str(table), "format": "porpoise"},
        "clinical": {"path": str(table), "format": "porpoise"},
        "min_label_count": MIN_LABEL_COUNT,
        "features": [{"format": "pt", "path": str(folder), "width": settings.width, "encoder": "plasmode-simulated"}],
    }


def configuration(data: Path, out: Path, cohorts: list[str], arguments: argparse.Namespace) -> dict:
    """The whole configuration of the run."""
    settings = PlasmodeSettings(seed=arguments.seed)
    return {
        "title": "MIRROR on real RNA with plasmode (simulated) patch features",
        "seed": arguments.seed,
        "results": str(out / "results"),
        "cohorts": {f"{c.upper()}_plasmode": prepare(data, out, c, settings) for c in cohorts},
        "slides": {"slides_per_job": 500},
        "encoders": [],
        "rna": {"selection": {"method": "all"}},
        "splits": {
            "published": {
                "kind": "published",
                "folds": 5,
                "path": str(out / "splits" / "{cohort}"),
            }
        },
        "pretrain": {
            "model": {
                "embed_dim": 128,
                "slide_heads": 4,
                "rna_heads": 4,
                "attention": "exact",
                "style_dim": 32,
                "style_hidden": [128, 64],
                "prototypes": 64,
                "tokens": 48,
            },
            "train": {"epochs": arguments.epochs, "batch_size": 32, "lr": 0.0003, "workers": 0},
        },
        "variants": {v: {} for v in arguments.variants},
        "evaluation": {
            "protocols": ["linear"],
            "baselines": ["rna_logistic", "rna_cox", "rna_mlp", "slide_mean", "clinical_cox", "late_fusion", "concat"],
        },
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the real tables")
    parser.add_argument("--out", type=Path, default=Path("results/plasmode"), help="where everything is written")
    parser.add_argument("--cohorts", nargs="+", default=list(LINEAR), choices=list(LINEAR))
    parser.add_argument("--variants", nargs="+", default=["mirror", "mirror_plus", "align"])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--prepare-only", action="store_true", help="write features and configuration, run nothing")
    arguments = parser.parse_args()
    data, out = arguments.data.resolve(), arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for cohort in arguments.cohorts:  # the workflow fills in the cohort's own name
        link = out / "splits" / f"{cohort.upper()}_plasmode"
        link.parent.mkdir(exist_ok=True)
        if not link.exists():
            link.symlink_to(data / "splits" / f"tcga_{cohort}")
    write_text(out / "config.yaml", yaml.safe_dump(configuration(data, out, arguments.cohorts, arguments)))
    if arguments.prepare_only:
        print(json.dumps({"config": str(out / "config.yaml")}))
        return
    started = time.time()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            str(arguments.cores),
            "--snakefile",
            str(ROOT / "Snakefile"),
            "--directory",
            str(out),
            "--workflow-profile",
            str(ROOT / "profiles" / "default"),
            "--configfile",
            str(out / "config.yaml"),
            "--quiet",
            "rules",
            "host",
        ],
        check=True,
    )
    seconds = time.time() - started
    for table in ("subtyping", "survival", "retrieval"):
        page = out / "results" / "tables" / f"{table}.md"
        if page.exists():
            print(page.read_text())
    metrics = pd.read_csv(out / "results" / "metrics.tsv", sep="\t", dtype={"fold": str})
    folds = metrics[(metrics["fold"] != "pooled") & metrics["metric"].isin(WANTED)].fillna({"head": ""})
    folds = folds[folds["task"] == folds["metric"].map(WANTED)]
    answer: dict = {"seconds": round(seconds)}
    for cohort in arguments.cohorts:
        own = folds[folds["cohort"] == f"{cohort.upper()}_plasmode"]
        means = own.groupby(["method", "modality", "head", "metric"])["value"].mean()
        rows: dict = {"linear": LINEAR[cohort]}
        for (method, modality, head, metric), value in means.items():
            rows.setdefault(" ".join(filter(None, [method, modality, head])), {})[metric] = round(float(value), 4)
        answer[cohort] = rows
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
