"""Tables in the paper's layout, from the metrics."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mirror.core.atomic import write_json
from mirror.core.protocols import fewshot_protocol
from mirror.plan.kinds import find_kinds
from mirror.plan.targets import SHORT
from mirror.report.tables.added import write_added
from mirror.report.tables.build import Table, build_table
from mirror.report.tables.reported import read_reported
from mirror.report.tables.write import write_table

SURVIVAL = ["c_index", "c_index_uno", "auc_mean", "ibs"]
TRUTH = ["r2_shared", "r2_slide", "r2_rna"]
TRANSFER = "transfer"
RETRIEVAL = ["recall_at_1", "recall_at_5", "recall_at_10", "median_rank"]
Shots = tuple[int, Sequence[int]]
"""The number of shots of the few-shot tables, and every number that was evaluated."""
FULL = ("linear", "supervised", "finetune")
TARGETS = [{"name": name, "kind": kind, "title": name.capitalize()} for name, kind in SHORT.items()]

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


def wanted(
    variants: list[str], shots: Shots, horizons_days: Sequence[float] = (), targets: Sequence[dict] = TARGETS
) -> list[dict]:
    """Every table: name, title, section of the report, and which rows and columns it takes.

    ``targets`` are name, kind and title of each; ``shots`` is k of the few-shot tables and every k, if there are more.
    """
    horizons = [f"auc_{days:.0f}d" for days in horizons_days]
    k, every = shots
    kinds = find_kinds()

    def of_target(target: dict, prefix: str, title: str, columns: Sequence[str], section: str, **more) -> dict:
        columns = [m for name in columns for m in (horizons if name == "auc_at_horizons" else [name])]
        spec = {"name": f"{prefix}{target['name']}", "title": title, "task": target["name"], "protocols": FULL}
        return spec | {"wanted": columns, "section": section} | more

    def inside(target: dict) -> str:
        """A title within a sentence."""
        return target["title"].lower() if target["name"] in SHORT else target["title"]

    def few(target: dict) -> dict:
        words = {"protocols": (fewshot_protocol(k, every),), "legend": FEWSHOT_LEGEND}
        words["note"] = kinds[target["kind"]].few_note.format(k=k)
        if len(every) > 1:
            numbers = ", ".join(map(str, every))
            words["note"] += f" The learning curve and metrics.tsv have every number of shots ({numbers})."
        return of_target(
            target, "fewshot_", f"{k}-shot {inside(target)}", kinds[target["kind"]].few, "Few-shot", **words
        )

    def second(target: dict) -> dict:
        kind = kinds[target["kind"]]
        return of_target(target, "more_", f"{target['title']}: {kind.more_title}", kind.more, kind.section)

    retrieval = {
        "name": "retrieval",
        "title": "Cross-modal retrieval",
        "task": "retrieval",
        "protocols": ("zeroshot",),
        "wanted": RETRIEVAL,
        "legend": RETRIEVAL_LEGEND,
        "section": "Retrieval",
    }
    truth = {
        "name": "truth_recovery",
        "title": "Truth recovery (simulated)",
        "task": "truth",
        "protocols": ("readout",),
        "wanted": TRUTH,
        "legend": TRUTH_LEGEND,
        "section": "Truth recovery",
    }
    return [
        *(of_target(t, "", t["title"], kinds[t["kind"]].metrics, "Result") for t in targets),
        *(second(t) for t in targets if kinds[t["kind"]].more),
        *(few(t) for t in targets),
        retrieval,
        *(
            of_target(t, "ablation_", f"Ablation: {inside(t)}", kinds[t["kind"]].metrics, "Ablation", methods=variants)
            for t in targets
        ),
        truth,
    ]


def transfers(sources: list[tuple[str, ...]], titles: dict[str, str]) -> list[dict]:
    """A table for each source, split scheme and survival target of ``sources``; its columns are the target cohorts."""
    return [
        {
            "name": f"{TRANSFER}_{scheme}_from_{source}",
            "title": f"Zero-shot transfer of risk from {titles.get(source, source)} ({scheme})",
            "task": task,
            "section": "Transfer",
            "protocols": (TRANSFER,),
            "wanted": SURVIVAL,
            "legend": TRANSFER_LEGEND,
            "scheme": f"{scheme}_from_{source}",
        }
        for source, scheme, task in sources
    ]


def allowed_leaks(files: list[Path]) -> str:
    """A note that names the checks of the leak audit that failed and were allowed."""
    found = {}
    for file in files:
        for check in json.loads(file.read_text())["checks"]:
            if not check["passed"] and check.get("allowed"):
                found[check["name"]] = check.get("reason", "")
    return "LEAKS ALLOWED: " + "; ".join(f"{k} ({v})" for k, v in found.items()) + "." if found else ""


def row_notes(numbers: pd.DataFrame, fits: pd.DataFrame | None, scheme: str, task: str = "survival") -> str:
    """What some rows of a survival table are made of: the covariates of Clinical Cox, where a recipe was chosen."""
    out = []
    if fits is not None and len(fits):
        of_task = fits[fits["task"] == task] if "task" in fits else fits
        told = of_task[(of_task["scheme"] == scheme) & of_task["reason"].astype(str).str.contains("covariates: ")]
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
    shots: Shots,
    audits: list[Path],
    reported: Path | None,
    folder: Path,
    index: Path,
    sources: Sequence[tuple[str, ...]] = (),
    horizons_days: Sequence[float] = (),
    notes: Path | None = None,
    targets: Sequence[dict] = TARGETS,
    added: Sequence[Path] = (),
) -> None:
    """Write every table that has rows, and ``index.json`` that lists them in order.

    ``sources`` are the (source cohort, split scheme, target) of the transfers; ``horizons_days`` those of the AUC;
    ``notes`` is what the fits noted.
    """
    numbers = pd.read_csv(metrics, sep="\t", dtype={"fold": str, "head": str, "events": "Float64"})
    compared = pd.read_csv(comparisons, sep="\t")
    elsewhere = read_reported(reported)
    fits = pd.read_csv(notes, sep="\t", dtype=str) if notes else None
    listed = []
    leaking = allowed_leaks(audits)
    survival = [target["name"] for target in targets if target["kind"] == "survival"]

    def write(kind: str, scheme: str, spec: dict) -> None:
        section = spec.pop("section")
        note = " ".join(filter(None, [spec.get("note", ""), leaking]))
        spec = {"scheme": scheme, "reported": elsewhere, **spec, "note": note}
        table: Table | None = build_table(numbers, compared, **spec)
        if table:
            write_table(table, folder, titles)
            listed.append(
                {"name": table.name, "kind": kind, "title": table.title, "scheme": spec["scheme"], "section": section}
            )

    for scheme in schemes:
        for spec in wanted(variants, shots, horizons_days, targets):
            kind = spec["name"]
            if kind in survival:
                spec = {**spec, "note": row_notes(numbers, fits, scheme, kind)}
            write(kind, scheme, spec if len(schemes) == 1 else {**spec, "name": f"{scheme}_{kind}"})
    for spec in transfers(list(sources), titles):
        write(TRANSFER, "", {**spec, "reported": None})
    gains = [table for table in (pd.read_csv(path, sep="\t", dtype={"head": str}) for path in added) if len(table)]
    for scheme in schemes:
        mine = [table[table["scheme"] == scheme] for table in gains if (table["scheme"] == scheme).any()]
        if mine:
            name = "what_it_adds" if len(schemes) == 1 else f"{scheme}_what_it_adds"
            write_added(pd.concat(mine), folder, name, titles, {t["name"]: t["title"] for t in targets})
            words = {"kind": "what_it_adds", "title": "What it adds to clinical covariates", "section": "What it adds"}
            listed.append({"name": name, "scheme": scheme, **words})
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
            snakemake.params.shots,
            [Path(p) for p in snakemake.input.leaks],
            Path(snakemake.input.reported) if snakemake.input.reported else None,
            Path(snakemake.output.index).parent,
            Path(snakemake.output.index),
            snakemake.params.sources,
            snakemake.params.horizons,
            Path(snakemake.input.notes),
            list(snakemake.params.targets),
            [Path(p) for p in snakemake.input.added],
        ),
        snakemake.log[0],
    )
