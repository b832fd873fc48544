"""Read a cohort's expression from any supported file to one row per patient."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mirror.config.sources import ExpressionSource
from mirror.core.facts import Facts
from mirror.core.memory import set_job_memory
from mirror.readers.expression.read import read_expression, write_expression
from mirror.readers.tables import missing_column, read_table


def main(
    source: dict[str, Any],
    out: Path,
    cohort: str = "",
    patients: list[str] | None = None,
    samples: Sequence[Path] = (),
    facts: Path | None = None,
) -> None:
    """Read ``source`` and write ``out``.

    Parameters
    ----------
    source : dict
        Fields of `ExpressionSource`.
    out : pathlib.Path
        The h5ad to write; its ``uns["mirror"]`` holds the report.
    cohort : str
        The cohort's name.
    patients : list of str, optional
        The cohort's patients; only their samples are read.
    samples : sequence of pathlib.Path
        Any tables with a ``patient_id`` column, in place of ``patients``.
    facts : pathlib.Path, optional
        JSON of what was read as what.
    """
    for path in samples:
        table = read_table(path)
        if "patient_id" not in table:
            raise missing_column("patient_id", table.columns, path)
        patients = sorted({*(patients or []), *table["patient_id"]} - {""})
    given = ExpressionSource(**source)
    found = Facts(given.about)
    adata, _ = read_expression(given, patients, cohort, found)
    write_expression(adata, out)
    if facts is not None:
        found.write(facts)


if "snakemake" in globals():
    from mirror.core.step import run_step

    set_job_memory(snakemake.resources.get("mem_mb"))
    run_step(
        lambda: main(
            source=snakemake.params.source,
            out=Path(snakemake.output[0]),
            cohort=snakemake.wildcards.get("cohort", ""),
            patients=snakemake.params.get("patients"),
            samples=[Path(path) for path in snakemake.input.get("patients", [])],
            facts=Path(snakemake.output.facts),
        ),
        snakemake.log[0],
    )
