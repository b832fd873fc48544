"""Maps of one variant's embeddings, and how slides and RNA of test patients align."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from mirror.evaluation.retrieval import partner_ranks
from mirror.figures.embedding import alignment_heatmap, umap_panels
from mirror.figures.style import save_figure

BY = ["label", "set", "site", "cohort"]


def held_out_pairs(data: anndata.AnnData) -> tuple[np.ndarray, np.ndarray]:
    """Projected slide and RNA embeddings of test patients, averaged over a patient's slides."""
    keep = (data.obs["set"] == "test").to_numpy()
    parts = []
    for key in ("X_align_wsi", "X_align_rna"):
        table = pd.DataFrame(np.asarray(data.obsm[key])[keep]).groupby(data.obs.loc[keep, "patient_id"].to_numpy())
        parts.append(table.mean().dropna())
    both = parts[0].index.intersection(parts[1].index)
    return parts[0].loc[both].to_numpy(), parts[1].loc[both].to_numpy()


def main(embeddings: list[Path], seed: int, out: dict[str, Path]) -> None:
    """UMAP of the first fold; alignment of the first fold and retrieval over all."""
    first = anndata.read_h5ad(embeddings[0])
    matrices = {m: np.asarray(first.obsm[f"X_{m}"], float) for m in ("wsi", "rna", "fused")}
    save_figure(umap_panels(first.obs, matrices, BY, seed), out["umap_png"], out["umap_svg"])
    ranks, similarity = [], None
    for path in embeddings:
        slides, rna = held_out_pairs(anndata.read_h5ad(path))
        if len(slides):
            ranks.append(partner_ranks(slides, rna))
            similarity = slides @ rna.T if similarity is None else similarity
    empty = np.zeros((0, 0))
    figure = alignment_heatmap(empty if similarity is None else similarity, np.concatenate(ranks) if ranks else empty)
    save_figure(figure, out["retrieval_png"], out["retrieval_svg"])


if "snakemake" in globals():
    from mirror.io.progress import run_step

    run_step(
        lambda: main(
            [Path(p) for p in snakemake.input.embeddings],  # noqa: F821
            snakemake.params.seed,  # noqa: F821
            {k: Path(v) for k, v in snakemake.output.items()},  # noqa: F821
        ),
        snakemake.log[0],  # noqa: F821
    )
