#!/usr/bin/env python3
"""The whole workflow on real pairs of histology features and RNA.

DATA is a folder with pairs/{cohort}_hif.parquet (one vector of slide features per patient, index =
12-character barcode, raw scale) and rna/tcga_{cohort}_all_clean.csv.zip (PORPOISE's tables: RNA, labels,
survival). Every named cohort that has both files is run. A slide is a bag of one vector. Labels are
oncotree codes; rarer ones count as missing. A cohort with fewer than two frequent labels is evaluated on
survival alone.

The script writes features and a configuration into OUT, runs the workflow there, prints its tables with
intervals and paired differences, and ends with one line of JSON: for each cohort and method the mean over
folds of the metrics below, and under "style" how well each variant's style clusters. What a cohort cannot
have is null. Of two survival heads the Cox one is reported. Baselines read slide features scaled as the
models' are (normal scores of ranks, statistics of the fold's training patients) and are fitted on the same
few-shot draws. Patient features that are missing take the median of their column over the cohort (less than
0.1 % of the values in the named files; no outcome is read); a column without any value is left out.

--quick runs the first cohort with fewer folds, epochs, draws and resamples: a check that everything works,
not a measurement.
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
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from mirror.core.atomic import atomic_path, write_text, write_tsv  # noqa: E402

MIN_LABEL_COUNT = 50
# Sizes of a model of bags of one vector; a variant's preset overrides what it says itself.
MODEL = {
    "embed_dim": 128,
    "slide_heads": 4,
    "rna_heads": 4,
    "attention": "exact",
    "style_dim": 32,
    "style_hidden": [128, 64],
    "prototypes": 64,
    "tokens": 4,
    "input_scaling": "ranks",
}
ENCODER = "hif"
VARIANTS = ["align", "mirror", "mirror_plus"]
BASELINES = ["rna_logistic", "rna_cox", "slide_mean", "concat", "late_fusion", "clinical_cox"]
STYLE = ["perplexity", "agreement", "agreement_chance", "stability_ari", "sets_fdr05"]
# Name in the answer: (task, protocols, metric, modality of retrieval).
FULL, SHOTS = ("linear", "supervised"), ("fewshot",)
METRICS = {
    "accuracy": ("subtyping", FULL, "accuracy"),
    "auroc": ("subtyping", FULL, "auroc"),
    "auroc_shots": ("subtyping", SHOTS, "auroc"),
    "balanced_shots": ("subtyping", SHOTS, "balanced_accuracy"),
    "c_index": ("survival", FULL, "c_index"),
    "auc_mean": ("survival", FULL, "auc_mean"),
    "recall_at_10": ("retrieval", ("zeroshot",), "recall_at_10"),
}


def prepare(data: Path, out: Path, cohort: str) -> dict:
    """Write a cohort's features and return its section of the configuration."""
    table = data / "rna" / f"tcga_{cohort}_all_clean.csv.zip"
    features = pd.read_parquet(data / "pairs" / f"{cohort}_hif.parquet")
    features = features.replace([np.inf, -np.inf], np.nan).dropna(axis=1, how="all")
    features = features.fillna(features.median())
    folder = out / "features" / cohort
    folder.mkdir(parents=True, exist_ok=True)
    slides = [f"{patient}-{ENCODER}" for patient in features.index]
    for slide, row in zip(slides, features.to_numpy(np.float32), strict=True):
        with atomic_path(folder / f"{slide}.pt") as part:
            torch.save(torch.from_numpy(row[None].copy()), part)
    samples = pd.DataFrame({"slide_id": slides, "patient_id": list(features.index), "slide_path": ""})
    write_tsv(out / f"{cohort}_samples.tsv", samples)
    return {
        "title": cohort.upper(),
        "samples": str(out / f"{cohort}_samples.tsv"),
        "expression": {"path": str(table), "format": "porpoise"},
        "clinical": {"path": str(table), "format": "porpoise"},
        "min_label_count": MIN_LABEL_COUNT,
        "features": [{"format": "pt", "path": str(folder), "width": features.shape[1], "encoder": ENCODER}],
    }


def configuration(data: Path, out: Path, arguments: argparse.Namespace) -> dict:
    """The whole configuration of the run."""
    quick = arguments.quick
    sets = sorted((data / "genesets").glob("*.gmt"))
    return {
        "title": "MIRROR on real pairs of slide features and RNA",
        "seed": arguments.seed,
        "results": str(out / "results"),
        "cohorts": {c.upper(): prepare(data, out, c) for c in arguments.cohorts},
        "slides": {"slides_per_job": 1000},
        "encoders": [],
        "rna": {"selection": {"method": "all"}},
        "splits": {"cv": {"kind": "stratified", "folds": arguments.folds}},
        "pretrain": {
            "model": {**MODEL, "embed_dim": arguments.width},
            "train": {"epochs": arguments.epochs, "batch_size": 32, "lr": 0.0003, "workers": 0},
        },
        "variants": {v: {} for v in arguments.variants},
        "evaluation": {
            "protocols": ["linear", "fewshot"],
            "baselines": BASELINES,
            "baseline": {"slide_scaling": "ranks"},
            "fewshot": {"k": 10, "draws": 2 if quick else 5},
            "survival": {"models": ["cox"]},
            "statistics": {"bootstrap": 200 if quick else 1000},
        },
        "interpretation": {
            "variants": [],
            "gene_sets": str(sets[0]) if sets else None,
            "permutations": 100 if quick else 1000,
        },
    }


def targets(out: Path, cohorts: list[str]) -> list[str]:
    """What the tables below are made from: the results without figures and report."""
    results = out / "results"
    clusters = [str(results / "style" / cohort.upper() / ENCODER / "cv" / "clusters.tsv") for cohort in cohorts]
    return [str(results / "tables" / "index.json"), *clusters]


def run(out: Path, cores: int, wanted: list[str]) -> None:
    """Run the workflow; without ``wanted`` up to figures and report."""
    subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            *wanted,
            "--cores",
            str(cores),
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


def row_name(method: str, modality: str, variants: list[str]) -> str:
    """Fused rows of a variant go by its name, its others by name and modality; baselines by theirs."""
    return f"{method}_{modality}" if method in variants and modality in ("wsi", "rna") else method


def collect(metrics: pd.DataFrame, cohort: str, variants: list[str]) -> dict[str, dict[str, float | None]]:
    """Means over folds (and draws) of the promised metrics, one entry per method."""
    folds = metrics[(metrics["fold"] != "pooled") & (metrics["cohort"] == cohort)].fillna({"head": ""})
    folds = folds[(folds["task"] != "survival") | (folds["head"] != "discrete")]
    found: dict[str, dict[str, float | None]] = {
        name: dict.fromkeys(METRICS)
        for name in [*BASELINES, *(f"{variant}{part}" for variant in variants for part in ("", "_wsi", "_rna"))]
    }
    for name, (task, protocols, metric) in METRICS.items():
        rows = folds[(folds["task"] == task) & folds["protocol"].isin(protocols) & (folds["metric"] == metric)]
        if task == "retrieval":  # of the fused model, slide to RNA
            rows = rows[rows["modality"] == "wsi_to_rna"].assign(modality="fused")
        for (method, modality), part in rows.groupby(["method", "modality"]):
            entry = found.setdefault(row_name(method, modality, variants), dict.fromkeys(METRICS))
            entry[name] = round(float(part["value"].mean()), 4)
    return found


def style(table: Path) -> dict[str, dict[str, float | None]]:
    """How well each variant's style clusters."""
    rows = pd.read_csv(table, sep="\t").set_index("variant")
    return {
        str(variant): {name: None if pd.isna(row[name]) else round(float(row[name]), 4) for name in STYLE}
        for variant, row in rows.iterrows()
    }


def parse() -> argparse.Namespace:
    """Command line, with what --quick changes filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real tables")
    parser.add_argument("--out", type=Path, default=Path("results/real_pairs"), help="where everything is written")
    parser.add_argument("--cohorts", nargs="+", default=["brca", "stad"], help="names of the files, in lower case")
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--width", type=int, default=128, help="embedding width")
    parser.add_argument("--epochs", type=int, help="epochs of pre-training (40)")
    parser.add_argument("--folds", type=int, help="folds (5)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--tables", action="store_true", help="neither figures nor report, which take a third longer")
    parser.add_argument("--quick", action="store_true", help="first cohort, 2 folds, 10 epochs; implies --tables")
    parser.add_argument("--prepare-only", action="store_true", help="write features and configuration, run nothing")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.cohorts = arguments.cohorts[:1]
    arguments.tables |= arguments.quick
    arguments.epochs = arguments.epochs or (10 if arguments.quick else 40)
    arguments.folds = arguments.folds or (2 if arguments.quick else 5)
    for cohort in arguments.cohorts:
        for file in (f"pairs/{cohort}_hif.parquet", f"rna/tcga_{cohort}_all_clean.csv.zip"):
            if not (arguments.data / file).is_file():
                parser.error(f"{arguments.data} holds no {file}: is cohort {cohort!r} spelt as the files are?")
    return arguments


def main() -> None:
    """Run it."""
    arguments = parse()
    data, out = arguments.data.resolve(), arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "config.yaml", yaml.safe_dump(configuration(data, out, arguments)))
    if arguments.prepare_only:
        print(json.dumps({"config": str(out / "config.yaml")}))
        return
    started = time.time()
    run(out, arguments.cores, targets(out, arguments.cohorts) if arguments.tables else [])
    seconds = time.time() - started
    results = out / "results"
    for entry in json.loads((results / "tables" / "index.json").read_text()):
        print((results / "tables" / f"{entry['name']}.md").read_text())
    compared = pd.read_csv(results / "comparisons.tsv", sep="\t")
    print(compared.to_string(index=False, max_colwidth=24))
    metrics = pd.read_csv(results / "metrics.tsv", sep="\t", dtype={"fold": str})
    answer: dict = {}
    for cohort in arguments.cohorts:
        name = cohort.upper()
        clusters = results / "style" / name / ENCODER / "cv" / "clusters.tsv"
        print(pd.read_csv(clusters, sep="\t").to_string(index=False))
        answer[cohort] = {**collect(metrics, name, arguments.variants), "style": style(clusters)}
    print(f"{seconds:.0f} s")
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
