"""Tables in the paper's layout, from the metrics."""

import json
from pathlib import Path

import pandas as pd

from mirror.figures.reported import read_reported
from mirror.figures.tables import Table, build_table, write_table
from mirror.io.atomic import write_json

SUBTYPING = ["accuracy", "balanced_accuracy", "macro_f1", "auroc"]
SURVIVAL = ["c_index", "c_index_uno", "auc_mean", "ibs"]
RETRIEVAL = ["recall_at_1", "recall_at_5", "recall_at_10", "median_rank"]
FULL = ("linear", "supervised", "finetune")


def wanted(variants: list[str], k: int) -> list[dict]:
    """Every table: name, title, and which rows and columns it takes."""
    return [
        {"name": "subtyping", "title": "Subtyping", "task": "subtyping", "protocols": FULL, "wanted": SUBTYPING},
        {"name": "survival", "title": "Survival", "task": "survival", "protocols": FULL, "wanted": SURVIVAL},
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
) -> None:
    """Write every table that has rows, and ``index.json`` that lists them in order."""
    numbers = pd.read_csv(metrics, sep="\t", dtype={"fold": str, "head": str, "events": "Float64"})
    compared = pd.read_csv(comparisons, sep="\t")
    elsewhere = read_reported(reported)
    listed = []
    leaking = allowed_leaks(audits)
    for scheme in schemes:
        for spec in wanted(variants, k):
            name = spec["name"] if len(schemes) == 1 else f"{scheme}_{spec['name']}"
            note = " ".join(filter(None, [spec.get("note", ""), leaking]))
            spec = {**spec, "name": name, "note": note, "scheme": scheme, "reported": elsewhere}
            table: Table | None = build_table(numbers, compared, **spec)
            if table:
                write_table(table, folder, titles)
                listed.append({"name": name, "title": table.title, "scheme": scheme})
    write_json(index, listed)


if "snakemake" in globals():
    from mirror.io.progress import run_step

    run_step(
        lambda: main(
            Path(snakemake.input.metrics),  # noqa: F821
            Path(snakemake.input.comparisons),  # noqa: F821
            snakemake.params.schemes,  # noqa: F821
            snakemake.params.variants,  # noqa: F821
            snakemake.params.titles,  # noqa: F821
            snakemake.params.k,  # noqa: F821
            [Path(p) for p in snakemake.input.leaks],  # noqa: F821
            Path(snakemake.input.reported) if snakemake.input.reported else None,  # noqa: F821
            Path(snakemake.output.index).parent,  # noqa: F821
            Path(snakemake.output.index),  # noqa: F821
        ),
        snakemake.log[0],  # noqa: F821
    )
