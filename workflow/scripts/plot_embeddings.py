"""Maps of one variant's embeddings, and how slides and RNA of test patients align."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from mirror.io.tables import read_outcomes
from mirror.metrics.retrieval import DIRECTIONS, partner_ranks
from mirror.report.figures.embedding import alignment_heatmap, umap_panels
from mirror.report.figures.style import save_figure, use_style

BY = ["label", "fold", "site", "cohort"]
HELD_OUT = "held out"


def held_out_pairs(data: anndata.AnnData) -> tuple[np.ndarray, np.ndarray]:
    """Projected slide and RNA embeddings of test patients, averaged over a patient's slides."""
    keep = (data.obs["set"] == "test").to_numpy()
    parts = []
    for key in ("X_align_wsi", "X_align_rna"):
        table = pd.DataFrame(np.asarray(data.obsm[key])[keep]).groupby(data.obs.loc[keep, "patient_id"].to_numpy())
        parts.append(table.mean().dropna())
    both = parts[0].index.intersection(parts[1].index)
    return parts[0].loc[both].to_numpy(), parts[1].loc[both].to_numpy()


def tested_in(embeddings: list[Path]) -> dict[str, str]:
    """Patient to the fold of the first repeat that tests it; the first file's fold was held out by the model drawn."""
    out: dict[str, str] = {}
    for path in embeddings:
        if path.stem.startswith("r0f"):
            obs = anndata.read_h5ad(path, backed="r").obs
            name = path.stem.removeprefix("r0f") + (f" ({HELD_OUT})" if path == embeddings[0] else "")
            out |= dict.fromkeys(obs.loc[obs["set"] == "test", "patient_id"].astype(str), name)
    return out


def main(embeddings: list[Path], labels: Path | None, seed: int, out: dict[str, Path]) -> None:
    """UMAP of the first fold; alignment of the first fold and retrieval over all."""
    use_style()
    first = anndata.read_h5ad(embeddings[0])
    if labels is not None:
        label = first.obs["patient_id"].astype(str).map(read_outcomes(labels)["label"])
        first.obs["label"] = label.fillna("").astype(str)
    first.obs["fold"] = first.obs["patient_id"].astype(str).map(tested_in(embeddings))
    matrices = {m: np.asarray(first.obsm[f"X_{m}"], float) for m in ("wsi", "rna", "fused")}
    save_figure(umap_panels(first.obs, matrices, BY, seed), out["umap_png"], out["umap_svg"])
    ranks: dict[str, list[np.ndarray]] = {direction: [] for direction in DIRECTIONS}
    similarity = None
    for path in embeddings:
        slides, rna = held_out_pairs(anndata.read_h5ad(path))
        if len(slides):
            for direction, (query, candidate) in zip(DIRECTIONS, ((slides, rna), (rna, slides)), strict=True):
                ranks[direction].append(partner_ranks(query, candidate))
            similarity = slides @ rna.T if similarity is None else similarity
    joined = {direction: np.concatenate(parts) for direction, parts in ranks.items() if parts}
    figure = alignment_heatmap(np.zeros((0, 0)) if similarity is None else similarity, joined)
    save_figure(figure, out["retrieval_png"], out["retrieval_svg"])


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            [Path(p) for p in snakemake.input.embeddings],
            Path(snakemake.input.labels) if snakemake.input.labels else None,
            snakemake.params.seed,
            {k: Path(v) for k, v in snakemake.output.items()},
        ),
        snakemake.log[0],
    )
