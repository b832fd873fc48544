"""The figures of one target: every method on one cohort."""

from importlib import import_module
from pathlib import Path
from typing import Any

from mirror.report.figures.style import save_figure, use_style


def main(
    predictions: list[Path],
    metrics: Path,
    names: dict[str, str],
    target: dict[str, Any],
    seed: int,
    draw: str,
    out: dict[str, Path],
) -> None:
    """Draw what the target's kind says (``draw``: module and function)."""
    use_style()
    module, _, function = draw.partition(":")
    folder = next(iter(out.values())).parent
    figures = getattr(import_module(module), function)(predictions, metrics, names, target, seed, folder)
    for name, figure in figures.items():
        save_figure(figure, out[f"{name}_png"], out[f"{name}_svg"])


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            [Path(p) for p in snakemake.input.predictions],
            Path(snakemake.input.metrics),
            dict(snakemake.params.names),
            dict(snakemake.params.target),
            snakemake.params.seed,
            snakemake.params.draw,
            {k: Path(v) for k, v in snakemake.output.items()},
        ),
        snakemake.log[0],
    )
