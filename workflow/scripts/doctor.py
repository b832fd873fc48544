"""Check everything that can be checked before hours are spent, and say how long a run would take."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from mirror.core.atomic import write_tsv
from mirror.core.errors import InputError
from mirror.core.findings import Finding
from mirror.doctor import check_encoders, check_features, check_machine, check_slides, check_tables, guarded, render
from mirror.doctor.plan import Scale, check_plan
from mirror.doctor.slides import SlideScan


def main(
    cohorts: dict[str, dict],
    encoders: list[dict],
    weights: dict[str, str],
    results: Path,
    out: Path,
    work: dict[str, Any],
    variants: dict[str, Any],
    answers: Sequence[Path] = (),
    slide_settings: dict | None = None,
    slide_trial: Path | None = None,
    training_trial: Path | None = None,
) -> None:
    """Run every check, print one table, write it; a problem ends with an error.

    Parameters
    ----------
    cohorts : dict
        Name to ``settings``, ``slides`` (list of rows), ``left_out`` (slides that a person left out), ``pixels``
        (whether slides are read) and ``encoders``.
    encoders : list of dict
        Rows of the encoder table in use.
    weights : dict
        ``embed.weights``.
    work, variants : dict
        What is computed, and the settings of pre-training of every variant.
    answers : sequence of Path
        Findings of the environments that will compute, by rule check_gpu.
    slide_settings : dict, optional
        The config's ``slides``.
    slide_trial, training_trial : Path, optional
        What was measured, by rules try_slides and try_training.
    """
    findings: list[Finding] = []
    scale = Scale()
    for name, cohort in cohorts.items():
        if cohort["settings"]["simulate"]:
            findings.append(
                Finding(
                    f"{name}: simulated",
                    "ok",
                    f"{len(cohort['slides'])} slides will be drawn; not in the hours and the disk of the plan",
                )
            )
            continue
        scale.slides[name] = len(cohort["slides"])
        if cohort["left_out"]:
            findings.append(Finding(f"{name}: slides left out", "ok", f"{cohort['left_out']} by exclude_slides"))
        if cohort["pixels"]:
            scale.scans[name] = scan = SlideScan()
            check = partial(check_slides, name, cohort["slides"], slide_settings, scan=scan)
            findings += guarded(f"{name}: slides", check)
            scale.widths |= {row["name"]: row["width"] for row in encoders if row["name"] in cohort["encoders"]}
        if cohort["settings"].get("features"):
            findings += guarded(
                f"{name}: features", partial(check_features, name, cohort["settings"], cohort["slides"])
            )
        patients = {s["patient_id"] for s in cohort["slides"]} if cohort["slides"] else None
        findings += guarded(f"{name}: tables", partial(check_tables, name, cohort["settings"], patients))
    findings += guarded("encoders", partial(check_encoders, encoders, weights))
    findings += guarded("machine", partial(check_machine, results))
    findings += [Finding(**json.loads(path.read_text(encoding="utf-8"))) for path in answers]
    tried = json.loads(slide_trial.read_text(encoding="utf-8")) if slide_trial else None
    steps = json.loads(training_trial.read_text(encoding="utf-8")) if training_trial else None
    findings += guarded("plan", partial(check_plan, results, scale, work, variants, tried, steps))
    print("\n" + render(findings) + "\n", flush=True)
    write_tsv(out, pd.DataFrame([vars(f) for f in findings]))
    problems = sum(f.state == "problem" for f in findings)
    warnings = sum(f.state == "warning" for f in findings)
    print(f"{problems} problems, {warnings} warnings; also in {out}", flush=True)
    if problems:
        raise InputError(f"{problems} problems found", remedy="see the rows marked PROBLEM above")


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            snakemake.params.cohorts,
            snakemake.params.encoders,
            snakemake.params.weights,
            Path(snakemake.params.results),
            Path(snakemake.params.table),
            snakemake.params.work,
            snakemake.params.variants,
            [Path(path) for path in snakemake.input.answers],
            snakemake.params.slides,
            Path(snakemake.input.slide_trial) if snakemake.input.slide_trial else None,
            Path(snakemake.input.training_trial) if snakemake.input.training_trial else None,
        ),
        snakemake.log[0],
    )
