"""Training curves of one variant over its folds."""

from pathlib import Path

import pandas as pd

from mirror.report.figures.style import save_figure, use_style
from mirror.report.figures.training import training_curves


def main(logs: dict[str, Path], png: Path, svg: Path) -> None:
    """Draw every logged quantity."""
    use_style()
    save_figure(training_curves({fold: pd.read_csv(path, sep="\t") for fold, path in logs.items()}), png, svg)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            dict(zip(snakemake.params.folds, map(Path, snakemake.input.logs), strict=True)),
            Path(snakemake.output.png),
            Path(snakemake.output.svg),
        ),
        snakemake.log[0],
    )
