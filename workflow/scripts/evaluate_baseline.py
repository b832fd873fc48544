"""Rule evaluate_baseline: one baseline, one task, all folds of a scheme -> predictions."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from mirror.baselines import find_baseline
from mirror.baselines.fold_data import COVARIATES
from mirror.baselines.run import evaluate_baseline, read_expression
from mirror.config.evaluation import EvaluationSettings
from mirror.dataset.patches import Slides
from mirror.io.predictions import Names, write_predictions
from mirror.io.splits import read_splits
from mirror.io.tables import read_outcomes, read_patients, with_outcomes
from mirror.targets.registry import Target


def main(
    baseline: str,
    target: dict[str, Any],
    patients: Path,
    outcomes: Path,
    splits: Path,
    slides: Path,
    features: Path | None,
    rna: Path | None,
    transforms: list[Path],
    settings: dict[str, Any],
    names: dict[str, str],
    seed: int,
    out: Path,
    feature_status: Sequence[Path] = (),
    min_focus: float | None = None,
    device: str = "cpu",
    gpu_share: int = 1,
    covariates: Sequence[str] = (),
) -> None:
    """Train and test the baseline in every fold and write its predictions.

    ``features`` is the folder of ``{slide_id}.h5``; ``rna`` and ``transforms`` are the cohort's
    expression and each fold's transform; None or empty where the cohort has none. Slides whose
    row in ``feature_status`` (slide_id, status) is not ok are left out. ``device`` other than
    ``cpu`` waits for a GPU of its own, or for one of ``gpu_share`` places on one. ``covariates`` are columns
    of the patients table that count as clinical covariates beside age, sex and stage.
    """
    modality = find_baseline(baseline).modality
    sources: list[Path] = [patients, outcomes, splits]
    bags = genes = None
    with ExitStack() as held:
        if device != "cpu":  # the environments of most baselines have no torch
            from mirror.compute.device import hold_gpu

            device = held.enter_context(hold_gpu(device, gpu_share)).type
        if features and modality in ("wsi", "fused"):
            table = pd.read_csv(slides, sep="\t", dtype={"slide_id": str, "patient_id": str})
            for path in feature_status:
                status = pd.read_csv(path, sep="\t", dtype=str)
                table = table[~table["slide_id"].isin(status.loc[status["status"] != "ok", "slide_id"])]
            bags = Slides(table, features, min_focus)
            sources.append(slides)
        if rna and modality in ("rna", "fused"):
            genes = read_expression(rna, transforms)
            sources += [rna, *transforms]
        result = evaluate_baseline(
            baseline,
            with_outcomes(read_patients(patients), read_outcomes(outcomes)),
            read_splits(splits),
            Target.of(target),
            Names(**names),
            EvaluationSettings(**settings),
            seed,
            bags,
            genes,
            sources,
            device,
            (*COVARIATES, *covariates),
        )
    write_predictions(out, result.rows, result.columns, result.metadata)


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            baseline=step.wildcards.baseline,
            target=step.params.target,
            patients=Path(step.input.patients),
            outcomes=Path(step.input.outcomes),
            splits=Path(step.input.splits),
            slides=Path(step.input.slides),
            features=Path(step.params.features) if step.params.features else None,
            rna=Path(step.input.rna) if step.input.rna else None,
            transforms=[Path(path) for path in step.input.transforms],
            settings=step.params.settings,
            names=dict(step.params.names),
            seed=step.params.seed,
            out=Path(step.output.predictions),
            feature_status=[Path(path) for path in step.input.features],
            min_focus=step.params.min_focus,
            device=step.params.device,
            gpu_share=step.resources.get("gpu_share", 1),
            covariates=step.params.covariates,
        ),
        step.log[0],
    )
