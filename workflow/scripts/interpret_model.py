"""Rule interpret_model: attention, prototypes and what goes with them, over out-of-fold test patients."""

from pathlib import Path
from typing import Any

from mirror.compute.device import hold_gpu
from mirror.config.interpretation import InterpretationSettings
from mirror.interpretation.interpret import FoldFiles, interpret
from mirror.io.tables import read_outcomes, read_patients, with_outcomes


def main(
    folds: list[str],
    embeddings: list[Path],
    checkpoints: list[Path],
    patients: Path,
    outcomes: list[Path],
    rna: Path | None,
    gene_sets: Path | None,
    predictions: Path | None,
    features: Path,
    settings: dict[str, Any],
    min_focus: float | None,
    seed: int,
    device: str,
    folder: Path,
    threads: int,
) -> None:
    """Interpret one variant; the outputs lie in ``folder``."""
    files = [FoldFiles(*row) for row in zip(folds, embeddings, checkpoints, strict=True)]
    with hold_gpu(device):
        interpret(
            files,
            with_outcomes(read_patients(patients), *map(read_outcomes, outcomes)),
            rna,
            gene_sets,
            predictions,
            features,
            InterpretationSettings(**settings),
            min_focus,
            seed,
            folder,
            threads,
        )


if "snakemake" in globals():
    from mirror.core.step import run_step

    smk = snakemake
    run_step(
        lambda: main(
            folds=list(smk.params.folds),
            embeddings=[Path(p) for p in smk.input.embeddings],
            checkpoints=[Path(p) for p in smk.input.checkpoints],
            patients=Path(smk.input.patients),
            outcomes=[Path(p) for p in (smk.input.labels, smk.input.follow_up) if p],
            rna=Path(smk.input.rna) if smk.input.rna else None,
            gene_sets=Path(smk.input.gene_sets) if smk.input.gene_sets else None,
            predictions=Path(smk.input.predictions) if smk.input.predictions else None,
            features=Path(smk.params.features),
            settings=smk.params.settings,
            min_focus=smk.params.min_focus,
            seed=smk.params.seed,
            device=smk.params.device,
            folder=Path(smk.output.prototypes).parent,
            threads=smk.threads,
        ),
        smk.log[0],
    )
