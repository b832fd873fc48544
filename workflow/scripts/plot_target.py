"""The figures of one target: every method on one cohort."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from mirror.report.figures.request import Request
from mirror.report.figures.style import save_figure, use_style


def main(
    predictions: list[Path],
    metrics: Path,
    patients: Path,
    names: dict[str, str],
    target: dict[str, Any],
    horizons_days: Sequence[float],
    seed: int,
    draw: str,
    out: dict[str, Path],
) -> None:
    """Draw what the target's kind says (``draw``: module and function)."""
    use_style()
    module, _, function = draw.partition(":")
    folder = next(iter(out.values())).parent
    request = Request(predictions, metrics, patients, names, target, horizons_days, seed, folder)
    for name, figure in getattr(import_module(module), function)(request).items():
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
            snakemake.params.draw,
            {k: Path(v) for k, v in snakemake.output.items()},
        ),
        snakemake.log[0],
    )
