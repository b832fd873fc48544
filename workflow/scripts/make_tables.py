"""Tables in the paper's layout, from the metrics."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mirror.core.atomic import write_json
from mirror.report.tables.build import Table, build_table, write_table
from mirror.report.tables.reported import read_reported

SUBTYPING = ["accuracy", "balanced_accuracy", "macro_f1", "auroc"]
SUBTYPING_MORE = ["auprc", "kappa", "brier", "ece"]
SURVIVAL = ["c_index", "c_index_uno", "auc_mean", "ibs"]
TRUTH = ["r2_shared", "r2_slide", "r2_rna"]
TRANSFER = "transfer"
RETRIEVAL = ["recall_at_1", "recall_at_5", "recall_at_10", "median_rank"]
FULL = ("linear", "supervised", "finetune")

TRUTH_LEGEND = (
    "R² of a ridge regression from an embedding (or from the input itself: mean and SD of the patch features, the "
    "fold's genes) to the factors from which the patients were drawn, mean over the factors of a group; fitted on a "
    "fold's training patients, scored on its test patients. 0 is a guess without the embedding. Mean ± SD over folds; "
    "in brackets the 95 % interval of the corrected resampled t over folds. A slide cannot know RNA-only factors nor "
    "RNA slide-only ones: these columns show what chance looks like."
)
FEWSHOT_LEGEND = (
    "Mean over draws of the pooled out-of-fold value (ranking metrics compare patients of one fold only) ± SD over "
    "folds; in brackets its 95 % interval over test patients and draws of the training patients. Bold: the best "
    "pre-declared row of the primary metric, where it differs from the next after Holm's correction over all pairs. "
    "Other metrics are not tested."
)
RETRIEVAL_LEGEND = (
    "Among the test patients of each fold ± SD over folds; in brackets the 95 % interval over test patients. The "
    "training of the encoders is not repeated."
)
TRANSFER_LEGEND = (
    "Models and survival heads of the source rank the target's patients; nothing was fitted on the target, and "
    "patients who are in both cohorts count nowhere. Mean over the models of the source's folds; in brackets the 95 % "
    "interval over the target's patients: the source's training is not repeated. Bold: the best variant's pre-declared "
    "row of the primary metric, where it differs from the next after Holm's correction over all pairs."
)


def wanted(variants: list[str], k: int, horizons_days: Sequence[float] = ()) -> list[dict]:
    """Every table: name, title, and which rows and columns it takes."""
    horizons = [f"auc_{days:.0f}d" for days in horizons_days]
    return [
        {"name": "subtyping", "title": "Subtyping", "task": "subtyping", "protocols": FULL, "wanted": SUBTYPING},
        {"name": "survival", "title": "Survival", "task": "survival", "protocols": FULL, "wanted": SURVIVAL},
        {
            "name": "more_subtyping",
            "title": "Subtyping: precision-recall, agreement, calibration",
            "task": "subtyping",
            "protocols": FULL,
            "wanted": SUBTYPING_MORE,
        },
        {
            "name": "more_survival",
            "title": "Survival: AUC at the horizons",
            "task": "survival",
            "protocols": FULL,
            "wanted": horizons,
        },
        {
            "name": "fewshot_subtyping",
            "title": f"{k}-shot subtyping",
            "task": "subtyping",
            "protocols": ("fewshot",),
            "wanted": SUBTYPING,
            "legend": FEWSHOT_LEGEND,
            "note": f"{k} training patients per class, drawn without replacement, the same for every method.",
        },
        {
            "name": "fewshot_survival",
            "title": f"{k}-shot survival",
            "task": "survival",
            "protocols": ("fewshot",),
            "wanted": [*SURVIVAL[:3], "training_events"],
            "legend": FEWSHOT_LEGEND,
            "note": f"{k} training patients per time bin, half with an event and half without, drawn without "
            "replacement, the same for every method. Events per draw: mean over folds and draws.",
        },
        {
            "name": "retrieval",
            "title": "Cross-modal retrieval",
            "task": "retrieval",
            "protocols": ("zeroshot",),
            "wanted": RETRIEVAL,
            "legend": RETRIEVAL_LEGEND,
        },
        {
            "name": "ablation_subtyping",
            "title": "Ablation: subtyping",
            "task": "subtyping",
            "protocols": FULL,
            "wanted": SUBTYPING,
            "methods": variants,
        },
        {
            "name": "ablation_survival",
            "title": "Ablation: survival",
            "task": "survival",
            "protocols": FULL,
            "wanted": SURVIVAL,
            "methods": variants,
        },
        {
            "name": "truth_recovery",
            "title": "Truth recovery (simulated)",
            "task": "truth",
            "protocols": ("readout",),
            "wanted": TRUTH,
            "legend": TRUTH_LEGEND,
        },
    ]


def transfers(sources: list[tuple[str, str]], titles: dict[str, str]) -> list[dict]:
    """A table for each source and split scheme of ``sources``; its columns are the target cohorts."""
    return [
        {
            "name": f"{TRANSFER}_{scheme}_from_{source}",
            "title": f"Zero-shot transfer of risk from {titles.get(source, source)} ({scheme})",
            "task": "survival",
            "protocols": (TRANSFER,),
            "wanted": SURVIVAL,
            "legend": TRANSFER_LEGEND,
            "scheme": f"{scheme}_from_{source}",
        }
        for source, scheme in sources
    ]


def allowed_leaks(files: list[Path]) -> str:
    """A note that names the checks of the leak audit that failed and were allowed."""
    found = {}
    for file in files:
        for check in json.loads(file.read_text())["checks"]:
            if not check["passed"] and check.get("allowed"):
                found[check["name"]] = check.get("reason", "")
    return "LEAKS ALLOWED: " + "; ".join(f"{k} ({v})" for k, v in found.items()) + "." if found else ""


def row_notes(numbers: pd.DataFrame, fits: pd.DataFrame | None, scheme: str) -> str:
    """What some rows of the survival table are made of: the covariates of Clinical Cox, where a recipe was chosen."""
    out = []
    if fits is not None and len(fits):
        told = fits[(fits["scheme"] == scheme) & fits["reason"].astype(str).str.contains("covariates: ")]
        for cohort, rows in told.groupby("cohort", sort=False):
            used = rows["reason"].str.split("covariates: ").str[-1].drop_duplicates()
            out.append(f"Clinical Cox of {cohort}: {' or '.join(used)}.")
    elastic = numbers[(numbers["head"] == "coxnet") & (numbers["scheme"] == scheme)]
    colorectal = [c for c in elastic["cohort"].unique() if re.search("COAD|READ|CRC", str(c).upper())]
    if colorectal:
        out.append(f"{', '.join(colorectal)}: the elastic net's averaging over penalties was chosen on TCGA COADREAD.")
    return " ".join(out)


def main(
    metrics: Path,
    comparisons: Path,
    schemes: list[str],
    variants: list[str],
    titles: dict[str, str],
    k: int,
    audits: list[Path],
    reported: Path | None,
    folder: Path,
    index: Path,
    sources: Sequence[tuple[str, str]] = (),
    horizons_days: Sequence[float] = (),
    notes: Path | None = None,
) -> None:
    """Write every table that has rows, and ``index.json`` that lists them in order.

    ``sources`` are the (source cohort, split scheme) of the transfers; ``horizons_days`` those of the AUC;
    ``notes`` is what the fits noted.
    """
    numbers = pd.read_csv(metrics, sep="\t", dtype={"fold": str, "head": str, "events": "Float64"})
    compared = pd.read_csv(comparisons, sep="\t")
    elsewhere = read_reported(reported)
    fits = pd.read_csv(notes, sep="\t", dtype=str) if notes else None
    listed = []
    leaking = allowed_leaks(audits)

    def write(kind: str, scheme: str, spec: dict) -> None:
        note = " ".join(filter(None, [spec.get("note", ""), leaking]))
        spec = {"scheme": scheme, "reported": elsewhere, **spec, "note": note}
        table: Table | None = build_table(numbers, compared, **spec)
        if table:
            write_table(table, folder, titles)
            listed.append({"name": table.name, "kind": kind, "title": table.title, "scheme": spec["scheme"]})

    for scheme in schemes:
        for spec in wanted(variants, k, horizons_days):
            kind = spec["name"]
            if kind == "survival":
                spec = {**spec, "note": row_notes(numbers, fits, scheme)}
            write(kind, scheme, spec if len(schemes) == 1 else {**spec, "name": f"{scheme}_{kind}"})
    for spec in transfers(list(sources), titles):
        write(TRANSFER, "", {**spec, "reported": None})
    write_json(index, listed)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            Path(snakemake.input.metrics),
            Path(snakemake.input.comparisons),
            snakemake.params.schemes,
            snakemake.params.variants,
            snakemake.params.titles,
            snakemake.params.k,
            [Path(p) for p in snakemake.input.leaks],
            Path(snakemake.input.reported) if snakemake.input.reported else None,
            Path(snakemake.output.index).parent,
            Path(snakemake.output.index),
            snakemake.params.sources,
            snakemake.params.horizons,
            Path(snakemake.input.notes),
        ),
        snakemake.log[0],
    )
