"""Which tables a report has: rows, columns, legends and notes of each."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ...core.protocols import fewshot_protocol
from ...plan.kinds import find_kinds
from ...plan.targets import SHORT

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
    "folds; in brackets its 95 % interval over test patients and draws of the training patients, widened by the square "
    "root of two because the draws share one training set. Bold: the best "
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
        note = kinds[target["kind"]].few_note.format(k=k)
        if len(every) > 1:
            numbers = ", ".join(map(str, every))
            note += f" The learning curve and metrics.tsv have every number of shots ({numbers})."
        return of_target(
            target,
            "fewshot_",
            f"{k}-shot {inside(target)}",
            kinds[target["kind"]].few,
            "Few-shot",
            protocols=(fewshot_protocol(k, every),),
            legend=FEWSHOT_LEGEND,
            note=note,
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
        rows_with = of_task[(of_task["scheme"] == scheme) & of_task["reason"].astype(str).str.contains("covariates: ")]
        for cohort, rows in rows_with.groupby("cohort", sort=False):
            used = rows["reason"].str.split("covariates: ").str[-1].drop_duplicates()
            out.append(f"Clinical Cox of {cohort}: {' or '.join(used)}.")
    elastic = numbers[(numbers["head"] == "coxnet") & (numbers["scheme"] == scheme)]
    colorectal = [c for c in elastic["cohort"].unique() if re.search("COAD|READ|CRC", str(c).upper())]
    if colorectal:
        out.append(f"{', '.join(colorectal)}: the elastic net's averaging over penalties was chosen on TCGA COADREAD.")
    return " ".join(out)
