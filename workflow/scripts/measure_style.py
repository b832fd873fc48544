"""Rule measure_style: how well the style of every variant clusters, on patients that its models never saw."""

from pathlib import Path

import pandas as pd

from mirror.core.atomic import write_tsv
from mirror.interpretation.clustering import COLUMNS, measure, read_fold
from mirror.interpretation.expression import read_associated
from mirror.io.tables import read_outcomes, read_patients, with_outcomes

PROTOTYPE_COLUMNS = ["variant", "prototype", "use", "match"]


def main(
    embeddings: dict[str, dict[str, Path]],
    patients: Path,
    outcomes: list[Path],
    rna: Path | None,
    gene_sets: Path | None,
    min_set: int,
    permutations: int,
    seed: int,
    clusters: Path,
    prototypes: Path,
) -> None:
    """Measure all variants of one cohort, encoder and scheme.

    ``embeddings`` are the files of each variant by fold, of one repeat. Variants that were trained
    without style have no row.
    """
    people = with_outcomes(read_patients(patients), *map(read_outcomes, outcomes))
    expression, masks = (
        (None, {}) if rna is None else read_associated(rna, gene_sets, people.index.astype(str), min_set)
    )
    rows, tables = [], []
    for variant, files in embeddings.items():
        read = [read_fold(fold, path) for fold, path in files.items()]
        folds = [fold for fold in read if fold is not None and len(fold.slides.table)]
        if not folds:
            continue
        row, table = measure(variant, folds, people, expression, masks, permutations, seed)
        rows.append(row)
        tables.append(table)
    write_tsv(clusters, pd.DataFrame(rows, columns=COLUMNS))
    write_tsv(prototypes, pd.concat(tables) if tables else pd.DataFrame(columns=PROTOTYPE_COLUMNS))


if "snakemake" in globals():
    from mirror.core.step import run_step

    smk = snakemake
    run_step(
        lambda: main(
            embeddings={v: {f: Path(p) for f, p in of.items()} for v, of in smk.params.files.items()},
            patients=Path(smk.input.patients),
            outcomes=[Path(p) for p in (smk.input.labels, smk.input.follow_up) if p],
            rna=Path(smk.input.rna) if smk.input.rna else None,
            gene_sets=Path(smk.input.gene_sets) if smk.input.gene_sets else None,
            min_set=smk.params.settings["min_set"],
            permutations=smk.params.settings["permutations"],
            seed=smk.params.seed,
            clusters=Path(smk.output.clusters),
            prototypes=Path(smk.output.prototypes),
        ),
        smk.log[0],
    )
