"""Learning curve of one target: the primary metric against the number of shots."""

from pathlib import Path

import pandas as pd

from mirror.report.figures.shots import learning_curve
from mirror.report.figures.style import save_figure, use_style


def main(
    metrics: Path, names: dict[str, str], metric: str, title: str, chance: float | None, png: Path, svg: Path
) -> None:
    """Draw one line per method."""
    use_style()
    table = pd.read_csv(metrics, sep="\t", dtype={"fold": str, "head": str})
    save_figure(learning_curve(table, names, metric, title, chance), png, svg)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            Path(snakemake.input.metrics),
            dict(snakemake.params.names),
            snakemake.params.metric,
            snakemake.params.title,
            snakemake.params.chance,
            Path(snakemake.output.png),
            Path(snakemake.output.svg),
        ),
        snakemake.log[0],
    )
