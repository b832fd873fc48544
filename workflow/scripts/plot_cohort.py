"""Cohort flow figure."""

from pathlib import Path

import pandas as pd

from mirror.report.figures.cohort import flow
from mirror.report.figures.style import save_figure, use_style


def main(table: Path, title: str, png: Path, svg: Path) -> None:
    """Draw the flow."""
    use_style()
    save_figure(flow(pd.read_csv(table, sep="\t"), title), png, svg)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            Path(snakemake.input.flow),
            snakemake.params.title,
            Path(snakemake.output.png),
            Path(snakemake.output.svg),
        ),
        snakemake.log[0],
    )
