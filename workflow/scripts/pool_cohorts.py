"""Pool the patient and slide tables of several cohorts."""

from pathlib import Path

import pandas as pd

from mirror.cohort.pool import pool_tables
from mirror.core.atomic import write_tsv

TEXT = {"slide_id": str, "patient_id": str, "fingerprint": str, "label": str, "site": str}


def main(names: list[str], patients: list[Path], slides: list[Path], flow: list[Path], out: dict[str, Path]) -> None:
    """Stack the members' tables; steps of the flow carry their cohort's name."""

    def read(paths: list[Path]) -> dict[str, pd.DataFrame]:
        return {n: pd.read_csv(p, sep="\t", dtype=TEXT) for n, p in zip(names, paths, strict=True)}

    write_tsv(out["patients"], pool_tables(read(patients), "patient_id", "patients"))
    write_tsv(out["slides"], pool_tables(read(slides), "slide_id", "slides"))
    steps = [table.assign(step=name + ": " + table["step"]) for name, table in read(flow).items()]
    write_tsv(out["flow"], pd.concat(steps, ignore_index=True))


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            snakemake.params.names,
            [Path(p) for p in snakemake.input.patients],
            [Path(p) for p in snakemake.input.slides],
            [Path(p) for p in snakemake.input.flow],
            {k: Path(snakemake.output[k]) for k in ("patients", "slides", "flow")},
        ),
        snakemake.log[0],
    )
