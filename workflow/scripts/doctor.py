"""Check everything that can be checked before hours are spent."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from mirror.core.atomic import write_tsv
from mirror.core.errors import InputError
from mirror.core.findings import Finding
from mirror.doctor import check_encoder, check_features, check_machine, check_slides, check_tables, guarded, render


def main(
    cohorts: dict[str, dict],
    encoders: list[dict],
    weights: dict[str, str],
    results: Path,
    out: Path,
    answers: Sequence[Path] = (),
    slide_settings: dict | None = None,
) -> None:
    """Run every check, print one table, write it; a problem ends with an error.

    Parameters
    ----------
    cohorts : dict
        Name to ``settings``, ``slides`` (list of rows) and ``pixels`` (whether slides are read).
    encoders : list of dict
        Rows of the encoder table in use.
    answers : sequence of Path
        Findings of the environments that will compute, by rule check_gpu.
    slide_settings : dict, optional
        The config's ``slides``.
    """
    findings: list[Finding] = []
    for name, cohort in cohorts.items():
        if cohort["settings"]["simulate"]:
            findings.append(Finding(f"{name}: simulated", "ok", f"{len(cohort['slides'])} slides will be drawn"))
            continue
        if cohort["pixels"]:
            findings += guarded(f"{name}: slides", partial(check_slides, name, cohort["slides"], slide_settings))
        if cohort["settings"].get("features"):
            findings += guarded(
                f"{name}: features", partial(check_features, name, cohort["settings"], cohort["slides"])
            )
        patients = {s["patient_id"] for s in cohort["slides"]} if cohort["slides"] else None
        findings += guarded(f"{name}: tables", partial(check_tables, name, cohort["settings"], patients))
    for row in encoders:
        findings += guarded(f"encoder {row['name']}", partial(check_encoder, row, weights.get(row["name"])))
    n_slides = sum(len(c["slides"]) for c in cohorts.values() if c["pixels"])
    findings += guarded("machine", partial(check_machine, results, n_slides, [r["width"] for r in encoders]))
    findings += [Finding(**json.loads(path.read_text(encoding="utf-8"))) for path in answers]
    print("\n" + render(findings) + "\n", flush=True)
    write_tsv(out, pd.DataFrame([vars(f) for f in findings]))
    problems = sum(f.state == "problem" for f in findings)
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
            [Path(path) for path in snakemake.input.answers],
            snakemake.params.slides,
        ),
        snakemake.log[0],
    )
