"""Absolute risk of a survival target: within stages, net benefit, calibration at the horizons."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mirror.io.tables import read_patients
from mirror.report.figures.risk import draw
from mirror.report.figures.style import save_figure, use_style


def main(
    predictions: list[Path],
    metrics: Path,
    patients: Path,
    names: dict[str, str],
    target: dict[str, Any],
    horizons_days: Sequence[float],
    seed: int,
    out: dict[str, Path],
) -> None:
    """Draw the three figures; those of other methods are saved beside them."""
    use_style()
    table = pd.read_csv(metrics, sep="\t", dtype={"fold": str, "head": str})
    folder = next(iter(out.values())).parent
    figures = draw(predictions, table, read_patients(patients), names, target, horizons_days, seed, folder)
    for name, figure in figures.items():
        save_figure(figure, out[f"{name}_png"], out[f"{name}_svg"])


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            [Path(p) for p in snakemake.input.predictions],
            Path(snakemake.input.metrics),
            Path(snakemake.input.patients),
            dict(snakemake.params.names),
            dict(snakemake.params.target),
            list(snakemake.params.horizons),
            snakemake.params.seed,
            {k: Path(v) for k, v in snakemake.output.items()},
        ),
        snakemake.log[0],
    )
