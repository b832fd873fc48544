"""Cohort flow figure."""

from pathlib import Path

import pandas as pd

from mirror.report.figures.cohort import flow
from mirror.report.figures.style import save_figure, use_style
from mirror.report.identifiers import Identifiers


def main(table: Path, targets: list[Path], title: str, png: Path, svg: Path, identifiers: Identifiers) -> None:
    """Draw the flow, then the steps of each target; they name nobody unless identifiers are shown as given."""
    use_style()
    steps = pd.concat([pd.read_csv(path, sep="\t") for path in (table, *targets)], ignore_index=True)
    for column in ("step", "reason"):
        steps[column] = steps[column].map(lambda cell: identifiers.text(cell) if isinstance(cell, str) else cell)
    save_figure(flow(steps, title), png, svg)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            Path(snakemake.input.flow),
            [Path(p) for p in snakemake.input.targets],
            snakemake.params.title,
            Path(snakemake.output.png),
            Path(snakemake.output.svg),
            Identifiers.read(snakemake.params.identifiers, snakemake.input.key),
        ),
        snakemake.log[0],
    )
