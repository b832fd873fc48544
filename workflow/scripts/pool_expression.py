"""Pool the expression of several cohorts."""

from pathlib import Path

import anndata

from mirror.cohort.pool import pool_expression
from mirror.core.atomic import atomic_path


def main(names: list[str], members: list[Path], genes: str, out: Path) -> None:
    """Stack the members' normalised expression."""
    pooled = pool_expression({n: anndata.read_h5ad(p) for n, p in zip(names, members, strict=True)}, genes)
    with atomic_path(out) as part:
        pooled.write_h5ad(part)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            snakemake.params.names,
            [Path(p) for p in snakemake.input.members],
            snakemake.params.genes,
            Path(snakemake.output.rna),
        ),
        snakemake.log[0],
    )
