"""Gather what folds are balanced in: one category per patient and target."""

from pathlib import Path
from typing import Any

import pandas as pd

from mirror.cohort.splits.strata import gather
from mirror.core.atomic import write_tsv
from mirror.io.tables import read_outcomes, read_table
from mirror.targets.registry import Target


def main(patients: Path, outcomes: list[Path], targets: list[dict[str, Any]], out: Path) -> None:
    """Write one table; the columns of one class target and one survival target stay as they are."""
    people = read_table(patients, ["patient_id"])["patient_id"].tolist()
    read = [(Target.of(target), read_outcomes(path)) for target, path in zip(targets, outcomes, strict=True)]
    plain = [target.kind for target, _ in read]
    if sorted(plain) in ([], ["class"], ["survival"], ["class", "survival"]):
        write_tsv(out, gather(people, {name: table[name] for _, table in read for name in table}))
        return
    strata = {f"stratum:{t.name}": pd.Series(t.rules.strata(table), table.index) for t, table in read}
    write_tsv(out, gather(people, strata))


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            Path(snakemake.input.patients),
            [Path(p) for p in snakemake.input.outcomes],
            list(snakemake.params.targets),
            Path(snakemake.output.strata),
        ),
        snakemake.log[0],
    )
