"""Read a cohort's clinical table from any supported format to one row a patient."""

from pathlib import Path
from typing import Any

from mirror.config.sources import ClinicalSource
from mirror.core.atomic import write_json, write_tsv
from mirror.core.spreadsheet import escape_formula
from mirror.readers.clinical.read import read_clinical


def main(source: dict[str, Any], out: Path, report: Path | None = None) -> None:
    """Read ``source`` and write the table and its report.

    Parameters
    ----------
    source : dict
        Fields of `ClinicalSource`.
    out : pathlib.Path
        The canonical clinical table, tsv.
    report : pathlib.Path, optional
        JSON of what was found, left out and suspected.
    """
    table, said = read_clinical(ClinicalSource(**source))
    for column in table.select_dtypes(object).columns.drop("patient_id"):  # identifiers must still join
        table[column] = table[column].map(lambda cell: escape_formula(cell) if isinstance(cell, str) else cell)
    write_tsv(out, table)
    if report is not None:
        write_json(report, said)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            source=snakemake.params.source,  # noqa: F821
            out=Path(snakemake.output[0]),  # noqa: F821
            report=Path(snakemake.output[1]) if len(snakemake.output) > 1 else None,  # noqa: F821
        ),
        snakemake.log[0],  # noqa: F821
    )
