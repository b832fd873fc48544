"""Forest plot of all methods and cohorts; ablation bars."""

from pathlib import Path

import pandas as pd

from mirror.report.figures.style import save_figure, use_style
from mirror.report.figures.summary import ablation, forest


def main(
    metrics: Path,
    scheme: str,
    variants: list[str],
    titles: dict[str, str],
    shown: dict[str, str],
    out: dict[str, Path],
) -> None:
    """Draw both for one split scheme; ``shown`` is the primary metric of each target."""
    use_style()
    table = pd.read_csv(metrics, sep="\t", dtype={"fold": str})
    table = table[table["scheme"] == scheme]
    save_figure(forest(table, shown, titles), out["forest_png"], out["forest_svg"])
    save_figure(ablation(table, variants, shown, titles), out["ablation_png"], out["ablation_svg"])


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            Path(snakemake.input.metrics),
            snakemake.wildcards.scheme,
            snakemake.params.variants,
            snakemake.params.titles,
            dict(snakemake.params.shown),
            {k: Path(v) for k, v in snakemake.output.items()},
        ),
        snakemake.log[0],
    )
