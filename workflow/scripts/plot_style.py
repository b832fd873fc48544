"""Rule plot_style: whether the style of each variant clusters."""

from pathlib import Path

import pandas as pd

from mirror.report.figures.clustering import style_clusters
from mirror.report.figures.style import save_figure, use_style


def main(clusters: Path, prototypes: Path, title: str, png: Path, svg: Path) -> None:
    """Draw use, agreement, stability and associations."""
    use_style()
    figure = style_clusters(pd.read_csv(clusters, sep="\t"), pd.read_csv(prototypes, sep="\t"), title)
    save_figure(figure, png, svg)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            Path(snakemake.input.clusters),
            Path(snakemake.input.prototypes),
            snakemake.params.title,
            Path(snakemake.output.png),
            Path(snakemake.output.svg),
        ),
        snakemake.log[0],
    )
