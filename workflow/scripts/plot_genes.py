"""Stability of the gene selection over folds."""

from pathlib import Path

import pandas as pd

from mirror.core.atomic import write_tsv
from mirror.report.figures.cohort import gene_stability
from mirror.report.figures.style import save_figure, use_style
from mirror.rna.stability import selection_stability


def main(tables: dict[str, Path], out: Path, png: Path, svg: Path) -> None:
    """Write how often each gene was chosen, and draw it."""
    use_style()
    write_tsv(out, selection_stability(list(tables.values())))
    chosen = {fold: pd.read_csv(path, sep="\t", dtype={"gene": str}) for fold, path in tables.items()}
    listed = {g for t in chosen.values() for g in t.loc[t["reason"].str.contains("list"), "gene"]}
    save_figure(gene_stability({fold: list(t["gene"]) for fold, t in chosen.items()}, listed), png, svg)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            dict(zip(snakemake.params.folds, map(Path, snakemake.input.tables), strict=True)),
            Path(snakemake.output.table),
            Path(snakemake.output.png),
            Path(snakemake.output.svg),
        ),
        snakemake.log[0],
    )
