"""Rule prepare_transfer: two cohorts -> who is trained on, who is ranked, and who is in both and counts nowhere."""

from pathlib import Path

import anndata
import pandas as pd

from mirror.core.atomic import write_json, write_tsv
from mirror.evaluation.transfer.prepare import shared_patients, transfer_splits
from mirror.io.splits import read_splits
from mirror.io.tables import read_patients


def read_slides(path: Path) -> pd.DataFrame:
    """A cohort's slides; identifiers and fingerprints stay text."""
    return pd.read_csv(path, sep="\t", dtype={"slide_id": str, "patient_id": str, "fingerprint": str})


def main(
    source_patients: Path,
    target_patients: Path,
    source_slides: Path,
    target_slides: Path,
    source_splits: Path,
    source_rna: Path,
    target_rna: Path | None,
    tolerance: float,
    splits: Path,
    report: Path,
    slides: Path,
) -> None:
    """Write the folds of the transfer, what was left out, and both cohorts' slides for the audit."""
    target = read_patients(target_patients)
    theirs, ours = read_slides(source_slides), read_slides(target_slides)
    shared = shared_patients(
        read_patients(source_patients),
        target,
        theirs,
        ours,
        (anndata.read_h5ad(source_rna), anndata.read_h5ad(target_rna)) if target_rna else None,
        tolerance,
    )
    table, facts = transfer_splits(read_splits(source_splits), target, shared)
    write_tsv(splits, table)
    write_json(report, facts)
    write_tsv(slides, pd.concat([theirs, ours], ignore_index=True))


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            source_patients=Path(step.input.source_patients),
            target_patients=Path(step.input.target_patients),
            source_slides=Path(step.input.source_slides),
            target_slides=Path(step.input.target_slides),
            source_splits=Path(step.input.source_splits),
            source_rna=Path(step.input.source_rna),
            target_rna=Path(step.input.target_rna) if step.input.target_rna else None,
            tolerance=step.params.tolerance,
            splits=Path(step.output.splits),
            report=Path(step.output.report),
            slides=Path(step.output.slides),
        ),
        step.log[0],
    )
