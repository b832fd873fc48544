"""Rule recover_truth: embeddings and the planted factors of a simulated cohort -> R2 of a readout."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from mirror.core.atomic import write_tsv
from mirror.dataset.patches import InFocus
from mirror.evaluation.simulated.ceiling import read_factors
from mirror.evaluation.simulated.readout import INPUT, bag_summary, truth_of_embeddings, truth_of_input
from mirror.io.features import FeatureFile
from mirror.io.predictions import Names
from mirror.io.splits import read_splits
from mirror.plan.paths import names_in
from mirror.rna.transform import Transform


def slide_inputs(
    slides: Path, status: list[Path], features: Path, min_focus: float | None
) -> tuple[np.ndarray, list[str]]:
    """Summary of each slide's patch features, and its patient; slides without features are left out."""
    table = pd.read_csv(slides, sep="\t", dtype={"slide_id": str, "patient_id": str})
    for path in status:
        status = pd.read_csv(path, sep="\t", dtype=str)
        table = table[~table["slide_id"].isin(status.loc[status["status"] != "ok", "slide_id"])]
    bags = (InFocus(FeatureFile(features / f"{slide}.h5"), min_focus).all() for slide in table["slide_id"])
    return np.stack([bag_summary(bag) for bag in bags]), table["patient_id"].tolist()


def rna_inputs(rna: Path, transforms: list[Path]) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Each fold's transformed genes of every patient."""
    data = anndata.read_h5ad(rna)
    patients = data.obs_names.astype(str).tolist()
    return {p.stem.removeprefix("transform_"): (Transform.load(p).apply(data), patients) for p in transforms}


def main(
    factors: Path,
    splits: Path,
    embeddings: list[Path],
    slides: Path,
    status: list[Path],
    features: Path,
    rna: Path,
    transforms: list[Path],
    names: dict[str, str],
    seed: int,
    out: Path,
    min_focus: float | None = None,
) -> None:
    """Write the readout of the input and of every variant; the variant is the embeddings' folder."""
    truth, folds = read_factors(factors), read_splits(splits)
    inputs = slide_inputs(slides, status, features, min_focus), rna_inputs(rna, transforms)
    tables = [truth_of_input(*inputs, truth, folds, Names(**names, method=INPUT), seed)]
    variant_of = {path: names_in("embeddings", path)["variant"] for path in embeddings}
    for variant in dict.fromkeys(variant_of.values()):
        files = [path for path in embeddings if variant_of[path] == variant]
        tables.append(truth_of_embeddings(files, truth, folds, Names(**names, method=variant), seed))
    write_tsv(out, pd.concat(tables, ignore_index=True))


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            factors=Path(step.input.factors),
            splits=Path(step.input.splits),
            embeddings=[Path(path) for path in step.input.embeddings],
            slides=Path(step.input.slides),
            status=[Path(path) for path in step.input.features],
            features=Path(step.params.features),
            rna=Path(step.input.rna),
            transforms=[Path(path) for path in step.input.transforms],
            names=dict(step.params.names),
            seed=step.params.seed,
            out=Path(step.output.truth),
            min_focus=step.params.min_focus,
        ),
        step.log[0],
    )
