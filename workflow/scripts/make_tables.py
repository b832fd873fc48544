"""Tables in the paper's layout, from the metrics."""

import json
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
TRANSFER_LEGEND = (
    "Models and survival heads of the source rank the target's patients; nothing was fitted on the target, and "
    "patients who are in both cohorts count nowhere. Mean ± SD over the models of the source's folds; in brackets the "
    "95 % interval by bootstrap over the target's patients. Bold: best of its column (among the variants of one patch "
    "encoder) and different from the runner-up after Holm's correction."
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
            "title": "Survival: AUC at the horizons, risk groups",
            "task": "survival",
            "protocols": FULL,
            "wanted": [*horizons, "logrank_p"],
            "note": "Log-rank p: risk groups by each fold's training median, pooled over folds; uncorrected.",
        },
        {
            "name": "fewshot_subtyping",
            "title": f"{k}-shot subtyping",
            "task": "subtyping",
            "protocols": ("fewshot",),
            "wanted": SUBTYPING,
            "note": f"{k} training patients a class, drawn without replacement; mean over folds and draws.",
        },
        {
            "name": "fewshot_survival",
            "title": f"{k}-shot survival",
            "task": "survival",
            "protocols": ("fewshot",),
            "wanted": SURVIVAL,
            "note": f"{k} training patients a time bin, drawn without replacement; mean over folds and draws.",
        },
        {
            "name": "retrieval",
            "title": "Cross-modal retrieval",
            "task": "retrieval",
            "protocols": ("zeroshot",),
            "wanted": RETRIEVAL,
            "note": "Among the test patients of each fold.",
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
) -> None:
    """Write every table that has rows, and ``index.json`` that lists them in order.

    ``sources`` are the (source cohort, split scheme) of the transfers; ``horizons_days`` those of the AUC.
    """
    numbers = pd.read_csv(metrics, sep="\t", dtype={"fold": str, "head": str, "events": "Float64"})
    compared = pd.read_csv(comparisons, sep="\t")
    elsewhere = read_reported(reported)
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
        ),
        snakemake.log[0],
    )
