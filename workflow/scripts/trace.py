"""Print what stands behind one cell of a table."""

from pathlib import Path

from mirror.core.atomic import write_json
from mirror.evaluation.trace import render, trace


def main(results: Path, cell: str, out: Path) -> None:
    """Print the trace and write it as JSON."""
    found = trace(results, cell)
    print("\n" + render(found) + "\n", flush=True)
    write_json(out, found)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            Path(snakemake.params.results),
            snakemake.params.cell,
            Path(snakemake.params.out),
        ),
        snakemake.log[0],
    )
