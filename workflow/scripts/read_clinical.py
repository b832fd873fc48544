"""Read a cohort's clinical table from any supported format to one row per patient, without outcomes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mirror.cohort.outcomes import OUTCOME_COLUMNS, split_facts
from mirror.config.sources import ClinicalSource
from mirror.core.atomic import write_json, write_tsv
from mirror.core.facts import Facts
from mirror.core.printable import printable
from mirror.core.spreadsheet import escape_formula
from mirror.plan.slide_table import read_slide_table
from mirror.readers.clinical.read import read_clinical


def main(
    source: dict[str, Any],
    out: Path,
    report: Path | None = None,
    facts: Path | None = None,
    samples: Sequence[Path] = (),
) -> None:
    """Read ``source`` and write the table, its report and its facts.

    Parameters
    ----------
    source : dict
        Fields of `ClinicalSource`.
    out : pathlib.Path
        The canonical clinical table, tsv.
    report : pathlib.Path, optional
        JSON of what was found, left out and suspected.
    facts : pathlib.Path, optional
        JSON of what was read as what.
    samples : sequence of pathlib.Path
        The slide tables: the column whose values meet their patients holds the patients.
    """
    given = ClinicalSource(**source)
    found = Facts(given.about)
    patients = [row.patient_id for row in read_slide_table(samples)] if samples else None
    table, said = read_clinical(given, patients, found)
    # Outcomes are read per target: a table of patients that holds none depends on none.
    table = table.drop(columns=[name for name in OUTCOME_COLUMNS if name in table])
    said["flow"] = [row for row in said["flow"] if not row["step"].startswith("follow-up")]
    found = split_facts(found, outcome=False)
    said["warnings"], said["facts"] = [f"{fact.subject}: {fact.value}" for fact in found.warnings], found.to_dict()
    for column in table.select_dtypes(object).columns.drop("patient_id"):  # identifiers must still join
        table[column] = table[column].map(
            lambda cell: escape_formula(printable(cell)) if isinstance(cell, str) else cell
        )
    write_tsv(out, table)
    if report is not None:
        write_json(report, said)
    if facts is not None:
        found.write(facts)


if "snakemake" in globals():
    from mirror.core.step import run_step

    smk = snakemake
    run_step(
        lambda: main(
            source=smk.params.source,
            out=Path(smk.output.clinical),
            report=Path(smk.output.report),
            facts=Path(smk.output.facts),
            samples=[Path(path) for path in smk.input.samples],
        ),
        smk.log[0],
    )
