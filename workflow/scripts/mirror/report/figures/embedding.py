"""Maps of the embeddings, and what aligns with what."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..display_names import MODALITIES
from .style import colour, empty_figure, grid_of, line

MAX_CATEGORIES = 12


def umap_of(matrix: np.ndarray, seed: int) -> np.ndarray:
    """Two UMAP coordinates, float32 (n, 2) (McInnes et al. 2018); seeded, so single-threaded."""
    import umap

    neighbours = int(min(15, max(2, len(matrix) - 1)))
    # Spectral initialisation fails on very few points; random initialisation is seeded as well.
    init = "random" if len(matrix) < 20 else "spectral"
    reducer = umap.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1, init=init)
    return reducer.fit_transform((matrix - matrix.mean(0)) / (matrix.std(0) + 1e-6))


def umap_panels(obs: pd.DataFrame, matrices: dict[str, np.ndarray], by: list[str], seed: int) -> Figure:
    """UMAP of each modality (rows), coloured by each column (columns).

    Parameters
    ----------
    obs : DataFrame
        One row per slide.
    matrices : dict
        Modality to float (n, D); rows of NaN are left out.
    by : list of str
        Columns of ``obs``; those with one value or none are left out.
    """
    shown = [c for c in by if c in obs and obs[c].notna().any() and obs[c].nunique() > 1]
    usable = {m: x for m, x in matrices.items() if np.isfinite(x).all(1).sum() >= 8}
    if not shown or not usable:
        return empty_figure("too few embeddings for a map")
    figure, axes = grid_of(len(shown) * len(usable), width=2.9, height=2.6, columns=len(shown))
    for row, (modality, matrix) in enumerate(usable.items()):
        keep = np.isfinite(matrix).all(1)
        xy = umap_of(matrix[keep], seed)
        for column, name in enumerate(shown):
            panel = axes[row * len(shown) + column]
            values = obs.loc[keep, name]
            numeric = pd.api.types.is_numeric_dtype(values) and values.nunique() > MAX_CATEGORIES
            if numeric:
                dots = panel.scatter(*xy.T, c=values, s=12, cmap="viridis", lw=0)  # type: ignore[misc]
                figure.colorbar(dots, ax=panel, shrink=0.7)
            else:
                _categories(panel, xy, values, obs[name], last=row == len(usable) - 1)
            panel.set(xticks=[], yticks=[], title=f"{MODALITIES.get(modality, modality)} by {name.replace('_', ' ')}")
    if "patient_id" in obs:
        figure.suptitle(f"n = {len(obs)} slides, {obs['patient_id'].nunique()} patients", fontsize=8, x=0.01, ha="left")
    return figure


def _categories(panel: Axes, xy: np.ndarray, values: pd.Series, everyone: pd.Series, last: bool) -> None:
    """Dots by category, the same colours in every row; the legend stands below the last row."""
    texts, known = (
        v.astype(object).where(v.notna() & (v.astype(str) != ""), "unknown").astype(str) for v in (values, everyone)
    )
    shown = sorted(known.value_counts().index[:MAX_CATEGORIES])
    rest = ~texts.isin(shown).to_numpy()
    if rest.any():
        panel.scatter(*xy[rest].T, s=8, color="0.8", lw=0)  # type: ignore[misc]
    for number, value in enumerate(shown):
        at = (texts == value).to_numpy()
        mark = "o^sDvP"[number // 8 % 6]
        panel.scatter(*xy[at].T, s=12, color=colour(number), marker=mark, lw=0, label=value)  # type: ignore[misc]
    if last:
        columns = 3 if max(map(len, shown)) < 9 else 2
        panel.legend(
            fontsize=7, markerscale=1.4, handletextpad=0.1, columnspacing=0.8, ncols=columns,
            loc="upper center", bbox_to_anchor=(0.5, -0.03),
        )  # fmt: skip


def alignment_heatmap(similarity: np.ndarray, ranks: dict[str, np.ndarray], n_show: int = 60) -> Figure:
    """Similarity of test slides (rows) and test RNA (columns), and the retrieval curves.

    Parameters
    ----------
    similarity : float (n, n)
        Row i and column i are one patient.
    ranks : dict of str to float (m,)
        Direction (``wsi_to_rna``, ``rna_to_wsi``) to the rank of each query's partner, 1 is best,
        from all folds.
    """
    if not len(similarity):
        return empty_figure("no test patient has both modalities")
    figure, (panel, curve) = grid_of(2, width=3.7, height=3.3, columns=2)
    shown = similarity[:n_show, :n_show]
    picture = panel.imshow(shown, cmap="viridis")
    figure.colorbar(picture, ax=panel, shrink=0.8, label="inner product")
    for axis in (panel.xaxis, panel.yaxis, curve.xaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    panel.set(xlabel="RNA of test patients", ylabel="Slides of test patients")
    panel.set_title(f"Alignment (one fold, n = {len(similarity)})")
    at = np.arange(1, len(similarity) + 1)
    for number, (direction, rank) in enumerate(ranks.items()):
        recall = [(rank <= k).mean() for k in at]
        words = MODALITIES.get(direction, direction)
        curve.step(at, recall, line(number), where="post", color=colour(number), lw=1.8, label=words)
    curve.plot(at, at / len(similarity), color="0.6", lw=1, label="chance")
    n = max((len(rank) for rank in ranks.values()), default=0)
    curve.set(xlabel="k", ylabel="Recall@k", ylim=(0, 1.02), title=f"Retrieval (all folds, n = {n})")
    curve.legend(loc="lower right")
    return figure
