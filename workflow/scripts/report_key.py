"""Pseudonyms of patients and slides for the report, and the key to them."""

from pathlib import Path

import pandas as pd

from mirror.report.identifiers import Mode, write_key


def main(patients: list[Path], slides: list[Path], mode: Mode, out: Path) -> None:
    """Read the names of all cohorts and write the key."""
    people = [name for path in patients for name in _column(path, "patient_id")["patient_id"]]
    frames = [_column(path, "slide_id", "patient_id") for path in slides]
    of = {row.slide_id: row.patient_id for frame in frames for row in frame.itertuples()}
    write_key(people, of, mode, out)


def _column(path: Path, *names: str) -> pd.DataFrame:
    """Columns of a table of ours as text."""
    return pd.read_csv(path, sep="\t", dtype=str, usecols=list(names), keep_default_na=False)


if "snakemake" in globals():
    from mirror.core.step import run_step

    smk = snakemake
    run_step(
        lambda: main(
            [Path(p) for p in smk.input.patients],
            [Path(p) for p in smk.input.slides],
            smk.params.mode,
            Path(smk.output.key),
        ),
        smk.log[0],
    )
