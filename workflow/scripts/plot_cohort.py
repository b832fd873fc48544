"""Cohort flow figure."""

from pathlib import Path

import pandas as pd

from mirror.report.figures.cohort import flow
from mirror.report.figures.style import save_figure


def main(table: Path, title: str, png: Path, svg: Path) -> None:
    """Draw the flow."""
    save_figure(flow(pd.read_csv(table, sep="\t"), title), png, svg)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            Path(snakemake.input.flow),  # noqa: F821
            snakemake.params.title,  # noqa: F821
            Path(snakemake.output.png),  # noqa: F821
            Path(snakemake.output.svg),  # noqa: F821
        ),
        snakemake.log[0],  # noqa: F821
    )
