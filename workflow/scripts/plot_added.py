"""What it adds: the gain of every method over clinical covariates, as one figure."""

from pathlib import Path

import pandas as pd

from mirror.report.figures.added import forest
from mirror.report.figures.style import save_figure, use_style


def main(tables: list[Path], titles: dict[str, str], targets: dict[str, str], png: Path, svg: Path) -> None:
    """Draw one panel per cohort and target; ``targets`` is the title of each."""
    use_style()
    read = [pd.read_csv(path, sep="\t", dtype={"head": str}) for path in tables]
    read = [table for table in read if len(table)]
    found = pd.concat(read, ignore_index=True) if read else pd.DataFrame()
    save_figure(forest(found, titles, targets), png, svg)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            [Path(p) for p in snakemake.input.added],
            dict(snakemake.params.titles),
            dict(snakemake.params.targets),
            Path(snakemake.output.png),
            Path(snakemake.output.svg),
        ),
        snakemake.log[0],
    )
