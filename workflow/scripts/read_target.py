"""Read one target of a cohort: who has which outcome."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mirror.cohort.outcomes import flow_rows, for_patients, raw_outcome, split_facts
from mirror.config.sources import ClinicalSource
from mirror.core.atomic import write_tsv
from mirror.core.facts import Facts
from mirror.core.printable import printable
from mirror.core.spreadsheet import escape_formula
from mirror.io.tables import read_table
from mirror.plan.slide_table import read_slide_table
from mirror.readers.clinical.read import read_clinical
from mirror.targets.registry import Target


def main(
    source: dict[str, Any],
    target: dict[str, Any],
    patients: Path,
    study: Path,
    out: Path,
    flow: Path,
    facts: Path,
    samples: Sequence[Path] = (),
) -> None:
    """Read the target's columns and write its outcomes, its steps of the cohort flow and its facts.

    Parameters
    ----------
    source : dict
        Fields of `ClinicalSource`: the clinical table with this target's columns alone.
    target : dict
        The target's settings, with its ``name``.
    patients, study : Path
        The cohort's patients; and all patients of the study, among whom a rare value is rare.
    out, flow, facts : Path
    samples : sequence of Path
        The slide tables: the column whose values meet their patients holds the patients.
    """
    rules = Target.of(target).rules
    given = ClinicalSource(**source)
    found = Facts(given.about)
    people = [row.patient_id for row in read_slide_table(samples)] if samples else None
    table, report = read_clinical(given, people, found)
    raw = raw_outcome(table, target["kind"], target.get("column"), given.about)
    raw = raw[raw["patient_id"].isin(set(read_table(study, ["patient_id"])["patient_id"]))].reset_index(drop=True)
    if "label" in raw:
        raw = raw.assign(label=raw["label"].map(lambda v: escape_formula(printable(v)) if isinstance(v, str) else v))
    steps = [row for row in report["flow"] if row["step"].startswith("follow-up")] if "event" in raw else []
    known, more = rules.apply(raw, target)
    outcomes = for_patients(known, read_table(patients, ["patient_id"])["patient_id"].tolist())
    usable = outcomes[rules.usable(outcomes)]
    last = {
        "step": "in the cohort, with an outcome",
        "unit": "patients",
        "kept": len(usable),
        "dropped": len(outcomes) - len(usable),
        "reason": rules.counts(usable),
    }
    write_tsv(out, outcomes)
    write_tsv(flow, flow_rows([*steps, *more, last], target["name"]))
    said = split_facts(found, outcome=True)
    said.note(target["name"], f"{target['kind']}, {rules.counts(usable)}", "targets")
    if len(usable) and rules.nothing_to_learn(usable, target["name"]):
        said.warn(target["name"], rules.nothing_to_learn(usable, target["name"]), "targets")
    said.write(facts)
    logging.getLogger("mirror").info("%s (%s): %s", target["name"], target["kind"], rules.counts(usable))


if "snakemake" in globals():
    from mirror.core.step import run_step

    smk = snakemake
    run_step(
        lambda: main(
            source=smk.params.source,
            target=smk.params.target,
            patients=Path(smk.input.patients),
            study=Path(smk.input.study),
            out=Path(smk.output.outcomes),
            flow=Path(smk.output.flow),
            facts=Path(smk.output.facts),
            samples=[Path(path) for path in smk.input.samples],
        ),
        smk.log[0],
    )
