"""Choose a fold's genes and fit its transform, both on the fold's training patients."""

import re
from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd

from mirror.config.rna import RnaSettings
from mirror.core.errors import InputError
from mirror.io.tables import read_outcomes
from mirror.rna.selection import select_genes
from mirror.rna.transform import fit_transform


def training_patients(splits: Path, fold: str) -> list[str]:
    """Training patients of fold ``r{repeat}f{fold}``."""
    parts = re.fullmatch(r"r(\d+)f(\d+)", fold)
    if parts is None:
        raise InputError(f"{fold!r} is no fold; folds are named r0f0, r0f1 ...")
    table = pd.read_csv(splits, sep="\t", dtype={"patient_id": str})
    rows = (table["repeat"] == int(parts[1])) & (table["fold"] == int(parts[2])) & (table["set"] == "train")
    if not rows.any():
        raise InputError(f"fold {fold} has no training patient", file=splits)
    return table.loc[rows, "patient_id"].tolist()


def main(
    expression: Path,
    splits: Path,
    labels: Path | None,
    genes: Path,
    table: Path,
    transform: Path,
    fold: str,
    settings: dict[str, Any],
    seed: int,
    threads: int | None = None,
) -> None:
    """Write the gene list, its table and the fitted transform of one fold; ``labels`` are those of one target."""
    rna = RnaSettings(**settings)
    adata = ad.read_h5ad(expression)
    train = training_patients(splits, fold)
    known = pd.Series(dtype=object) if labels is None else read_outcomes(labels)["label"]
    chosen = select_genes(adata, known, train, rna, seed, jobs=threads)
    fitted = fit_transform(adata, train, chosen.genes, rna).with_selection(chosen.patients, chosen.leaks)
    fitted.save(transform)
    chosen.write(genes, table)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            expression=Path(snakemake.input.expression),
            splits=Path(snakemake.input.splits),
            labels=Path(snakemake.input.labels) if snakemake.input.labels else None,
            genes=Path(snakemake.output.genes),
            table=Path(snakemake.output.table),
            transform=Path(snakemake.output.transform),
            fold=snakemake.params.fold,
            settings=snakemake.params.settings,
            seed=snakemake.params.seed,
            threads=snakemake.threads,
        ),
        snakemake.log[0],
    )
