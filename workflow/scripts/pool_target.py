"""Pool one target of several cohorts."""

from pathlib import Path

import pandas as pd

from mirror.cohort.outcomes import for_patients
from mirror.core.atomic import write_tsv
from mirror.io.tables import read_table


def main(names: list[str], outcomes: list[Path], flows: list[Path], patients: Path, out: Path, flow: Path) -> None:
    """Stack the members' outcomes in the order of the pooled patients; steps of the flow carry their cohort's name."""
    stacked = pd.concat([read_table(path, ["patient_id"]) for path in outcomes], ignore_index=True)
    write_tsv(out, for_patients(stacked, read_table(patients, ["patient_id"])["patient_id"].tolist()))
    steps = [pd.read_csv(path, sep="\t").assign(cohort=name) for name, path in zip(names, flows, strict=True)]
    joined = pd.concat([table.assign(step=table["cohort"] + ": " + table["step"]) for table in steps])
    write_tsv(flow, joined.drop(columns="cohort"))


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            snakemake.params.names,
            [Path(p) for p in snakemake.input.outcomes],
            [Path(p) for p in snakemake.input.flows],
            Path(snakemake.input.patients),
            Path(snakemake.output.outcomes),
            Path(snakemake.output.flow),
        ),
        snakemake.log[0],
    )
