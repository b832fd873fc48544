"""What a model looks at: heatmaps on slides, galleries of prototypes, and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch, Rectangle
from scipy.stats import rankdata

from ...io.slide_maps import SlideMap
from .style import PALETTE, empty_figure

HEAT = "inferno"
NICE_MM = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


@dataclass(frozen=True)
class Picture:
    """A slide shrunk to a thumbnail.

    Attributes
    ----------
    pixels : uint8 (h, w, 3)
    scale : float
        Level-0 pixels per pixel.
    origin : tuple of float
        Level-0 position of the top left corner.
    mpp : float
        Micrometres per level-0 pixel; NaN where unknown.
    """

    pixels: np.ndarray
    scale: float
    origin: tuple[float, float]
    mpp: float


def prototype_colour(number: int) -> str:
    """Colour of the n-th prototype; grey is kept for the others."""
    tones = PALETTE[:6]
    return tones[number % len(tones)]


def scale_bar(panel: Axes, picture: Picture) -> None:
    """A bar of a round length, about a fifth of the picture, with its length; nothing where mpp is unknown."""
    if not np.isfinite(picture.mpp):
        return
    height, width = picture.pixels.shape[:2]
    mm_px = picture.scale * picture.mpp / 1000
    wanted = width * mm_px / 5
    length = max([mm for mm in NICE_MM if mm <= wanted] or [NICE_MM[0]])
    bar = length / mm_px
    x, y = 0.04 * width, 0.955 * height
    back = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.2}
    panel.plot([x, x + bar], [y, y], color="black", lw=2.2, solid_capstyle="butt")
    words = f"{length:g} mm" if length >= 1 else f"{1000 * length:g} µm"
    panel.text(x, y - 0.02 * height, words, fontsize=6.5, va="bottom", ha="left", bbox=back)


def _tiles(panel: Axes, drawn: SlideMap, picture: Picture, **style) -> PatchCollection:
    corners = (drawn.coords - np.array(picture.origin)) / picture.scale
    side = drawn.size / picture.scale
    collection = PatchCollection([Rectangle(tuple(c), side, side) for c in corners], **style)
    panel.add_collection(collection)
    return collection


def draw_attention(panel: Axes, drawn: SlideMap, picture: Picture) -> PatchCollection:
    """Attention as percentiles within the slide, over the thumbnail."""
    panel.imshow(picture.pixels)
    rank = 100 * (rankdata(drawn.attention) - 0.5) / max(len(drawn.attention), 1)
    tiles = _tiles(panel, drawn, picture, cmap=HEAT, alpha=0.6, lw=0, rasterized=True)
    tiles.set_array(rank)
    tiles.set_clim(0, 100)
    _frame(panel, picture)
    return tiles


def draw_prototypes(panel: Axes, drawn: SlideMap, picture: Picture, names: list[str]) -> list[Patch]:
    """The chosen prototype that each tile scores relatively highest, strong where it stands out.

    Colour follows the largest standardised score among the chosen prototypes: the raw winner is
    often one prototype for all tiles, which would show nothing of what differs within a slide.
    """
    panel.imshow(picture.pixels)
    scores = np.where(np.isfinite(drawn.scores), drawn.scores, -np.inf)  # prototypes below the floors have no map
    best = scores.argmax(1)
    mapped = [bool(known.any()) for known in np.isfinite(scores).T]
    strength = np.clip(scores.max(1), 0, 2.5) / 2.5
    tones = [prototype_colour(b) for b in best]
    tiles = _tiles(panel, drawn, picture, lw=0, rasterized=True)
    rgba = np.array([to_rgba(t) for t in tones]).reshape(-1, 4)
    rgba[:, 3] = (0.1 + 0.6 * strength) if any(mapped) else 0.0
    tiles.set_facecolor(rgba)  # type: ignore[arg-type]
    _frame(panel, picture)
    return [Patch(color=prototype_colour(i), label=name) for i, name in enumerate(names) if mapped[i]]


def _frame(panel: Axes, picture: Picture) -> None:
    height, width = picture.pixels.shape[:2]
    panel.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    scale_bar(panel, picture)


def heatmaps(maps: dict[str, SlideMap], pictures: dict[str, Picture], names: list[str]) -> Figure:
    """Slides (rows): as they are, with attention, with prototypes.

    Parameters
    ----------
    maps : dict
        Slide to its map.
    pictures : dict
        Slide to its thumbnail; slides without one are left out.
    names : list of str
        Names of the chosen prototypes.
    """
    shown = [s for s in maps if s in pictures]
    if not shown:
        return empty_figure("no slide pixels to draw on")
    heights = [p.pixels.shape[0] / p.pixels.shape[1] for p in (pictures[s] for s in shown)]
    figure, axes = plt.subplots(
        len(shown),
        3,
        figsize=(7.6, 2.3 * sum(heights) + 0.5 * len(shown) + 0.3),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    for row, slide in zip(axes, shown, strict=True):
        row[0].imshow(pictures[slide].pixels)
        _frame(row[0], pictures[slide])
        row[0].set_title(slide, fontsize=7.5, loc="left")
        heat = draw_attention(row[1], maps[slide], pictures[slide])
        row[1].set_title("attention", fontsize=8)
        handles = draw_prototypes(row[2], maps[slide], pictures[slide], names)
        row[2].set_title("prototypes", fontsize=8)
        bar = figure.colorbar(heat, ax=row[1], shrink=0.8, pad=0.02)
        bar.set_label("percentile in the slide", fontsize=7)
        bar.ax.tick_params(labelsize=6)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 8), fontsize=8)
    return figure


def gallery(tiles: pd.DataFrame, pixels: dict[int, np.ndarray], names: list[str], use: dict[str, float]) -> Figure:
    """The nearest tiles of each prototype (rows) over the cohort.

    Parameters
    ----------
    tiles : DataFrame
        ``prototype, rank, slide_id, patient_id, z``.
    pixels : dict
        Row of ``tiles`` to uint8 (h, w, 3).
    names : list of str
        Prototypes, in order.
    use : dict
        Prototype to the share of slides that score it highest.
    """
    if tiles.empty or not pixels:
        return empty_figure("no slide pixels to draw tiles from")
    columns = int(tiles["rank"].max())
    figure, axes = plt.subplots(len(names), columns, figsize=(0.5 + 0.95 * columns, 1.2 * len(names)), squeeze=False)
    for number, (row, name) in enumerate(zip(axes, names, strict=True)):
        for panel in row:
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
        for i, tile in tiles[tiles["prototype"] == name].iterrows():
            panel = row[int(tile["rank"]) - 1]
            if i in pixels:
                panel.imshow(pixels[i])
            panel.set_title(f"{tile['z']:.1f} SD", fontsize=6, pad=2)
            panel.spines[:].set(visible=True, color=prototype_colour(number), lw=1.5)
        row[0].set_ylabel(f"{name}\n{use[name]:.0%}", fontsize=8, rotation=0, ha="right", va="center", labelpad=8)
    return figure


def associations(
    prototypes: pd.DataFrame, genes: pd.DataFrame, sets: pd.DataFrame, most_genes: int, most_sets: int = 12
) -> Figure:
    """Genes, gene sets, label and survival of every prototype.

    Parameters
    ----------
    prototypes, genes, sets : DataFrame
        As written by the interpretation (``prototypes.tsv``, ``genes.tsv``, ``gene_sets.tsv``).
    most_genes : int
        Genes shown a prototype.
    most_sets : int
        Gene sets shown.
    """
    names = list(prototypes["prototype"])
    rows = -(-len(names) // 3)
    upper, lower = rows * (0.45 + 0.17 * most_genes), 2.9
    figure = plt.figure(figsize=(7.6, upper + lower))
    top, bottom = figure.subfigures(2, 1, height_ratios=[upper, lower])  # type: ignore[misc]
    panels = top.subplots(rows, 3, squeeze=False).ravel()
    for spare in panels[len(names) :]:
        spare.set_axis_off()
    for i, (panel, name) in enumerate(zip(panels, names, strict=False)):
        why = _why_not(prototypes.iloc[[i]], "no expression")
        _gene_bars(panel, genes[genes["prototype"] == name].head(most_genes), name, prototype_colour(i), why)
    sets_at, survival_at, label_at = bottom.subplots(1, 3, width_ratios=[3, 2, 1.6])
    given = _why_not(prototypes, "no gene sets given\n(interpretation.gene_sets)")
    _set_grid(bottom, sets_at, sets, names, most_sets, given)
    _outcome(survival_at, prototypes)
    _label(label_at, prototypes)
    return figure


def _why_not(prototypes: pd.DataFrame, otherwise: str) -> str:
    """Why prototypes have no association: the floor that they are below, else what is missing."""
    reasons = prototypes["reason"].fillna("").astype(str) if "reason" in prototypes else pd.Series([""])
    if not len(prototypes) or (reasons == "").any():
        return otherwise
    return reasons.iloc[0].split(";")[0] if len(prototypes) == 1 else "no prototype is above the floors"


def _gene_bars(panel: Axes, rows: pd.DataFrame, name: str, tone: str, why: str) -> None:
    """Correlations of one prototype's genes, or ``why`` there are none."""
    if rows.empty:
        panel.set_axis_off()
        panel.set_title(f"{name}: {why}", fontsize=8)
        return
    y = np.arange(len(rows))
    certain = rows["fdr"].to_numpy() < 0.05
    panel.barh(y, rows["r"], color=[tone if c else "white" for c in certain], edgecolor=tone, lw=0.8, height=0.7)
    panel.axvline(0, color="0.4", lw=0.6)
    panel.set(yticks=y, ylim=(len(rows) - 0.4, -0.6), xlim=(-1, 1))
    panel.set_yticklabels(rows["gene"].astype(str).str.slice(0, 16), fontsize=6)
    panel.tick_params(axis="x", labelsize=6)
    panel.set_title(f"{name}: genes (r)", fontsize=8)


def _set_grid(
    figure: Figure | SubFigure, panel: Axes, sets: pd.DataFrame, names: list[str], most: int, why: str
) -> None:
    if sets.empty:
        panel.set_axis_off()
        panel.text(0.5, 0.5, why, ha="center", va="center", fontsize=8)
        return
    strongest = sets.groupby("gene_set")["p"].min().sort_values(kind="stable").index[:most]
    value = sets.pivot(index="gene_set", columns="prototype", values="p").reindex(index=strongest, columns=names)
    adjusted = sets.pivot(index="gene_set", columns="prototype", values="fdr").reindex(index=strongest, columns=names)
    strength = -np.log10(np.maximum(value.to_numpy(float), 1e-300))
    highest = float(np.nanmax(strength)) if np.isfinite(strength).any() else 0.0
    picture = panel.imshow(strength, cmap="Greens", vmin=0, vmax=max(3.0, highest), aspect="auto")
    for i, j in np.argwhere(adjusted.to_numpy() < 0.1):
        mark = "**" if adjusted.iloc[i, j] < 0.05 else "*"
        ink = "white" if strength[i, j] > 0.6 * picture.get_clim()[1] else "black"
        panel.text(j, i, mark, ha="center", va="center", fontsize=8, color=ink)
    panel.set(xticks=range(len(names)), yticks=range(len(strongest)))
    panel.set_xticklabels(names, fontsize=7)
    panel.set_yticklabels(
        [str(s).replace("HALLMARK_", "").replace("_", " ").lower()[:28] for s in strongest], fontsize=6
    )
    panel.set_title("Gene sets (* FDR < 0.1, ** < 0.05)", fontsize=8)
    bar = figure.colorbar(picture, ax=panel, shrink=0.8)
    bar.set_label("-log10 p", fontsize=7)
    bar.ax.tick_params(labelsize=6)


def _outcome(panel: Axes, prototypes: pd.DataFrame) -> None:
    known = prototypes["hazard_ratio"].notna()
    if not known.any():
        panel.set_axis_off()
        panel.text(0.5, 0.5, _why_not(prototypes, "no follow-up"), ha="center", va="center", fontsize=8)
        return
    for y, row in enumerate(prototypes.itertuples()):
        if not np.isfinite(row.hazard_ratio):
            continue
        tone = prototype_colour(y)
        panel.plot([row.hr_low, row.hr_high], [y, y], color=tone, lw=1.4)
        certain = row.survival_fdr < 0.05
        panel.plot(row.hazard_ratio, y, "s", ms=4.5, color=tone, mfc=tone if certain else "white")
    panel.axvline(1, color="0.5", lw=0.8, zorder=0)
    panel.set_xscale("log")
    low, high = prototypes["hr_low"].min(), prototypes["hr_high"].max()
    ticks = [t for t in (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 4, 10) if low * 0.9 <= t <= high * 1.1]
    panel.set(yticks=range(len(prototypes)), ylim=(len(prototypes) - 0.5, -0.5), xticks=ticks)
    panel.minorticks_off()
    panel.set_xticklabels([f"{t:g}" for t in ticks], fontsize=6)
    panel.set_yticklabels(prototypes["prototype"], fontsize=7)
    panel.set_xlabel("hazard ratio per SD", fontsize=7)
    events = int(prototypes["events"].max())
    panel.set_title(f"Survival (n = {int(prototypes['n_survival'].max())}, {events} events)", fontsize=8)


def _label(panel: Axes, prototypes: pd.DataFrame) -> None:
    known = prototypes["label_value"].notna()
    panel.set_title("Label", fontsize=8)
    if not known.any():
        panel.set_axis_off()
        panel.text(0.5, 0.5, _why_not(prototypes, "no label"), ha="center", va="center", fontsize=8)
        return
    prototypes = prototypes.assign(label_test=prototypes["label_test"].fillna(""))
    certain = prototypes["label_fdr"] < 0.05
    y = np.arange(len(prototypes))
    tones = [prototype_colour(i) for i in y]  # type: ignore[arg-type]
    test = str(prototypes.loc[known, "label_test"].iloc[0])
    auroc = test.startswith("AUROC")
    panel.barh(
        y,
        prototypes["label_value"] - (0.5 if auroc else 0),
        left=0.5 if auroc else 0,
        color=[t if c else "white" for t, c in zip(tones, certain, strict=True)],
        edgecolor=tones,
        height=0.7,
    )
    panel.set(yticks=y, ylim=(len(prototypes) - 0.5, -0.5), yticklabels=[])
    if auroc:
        panel.set_xlim(0, 1)
        panel.axvline(0.5, color="0.5", lw=0.8)
    panel.set_xlabel(test.replace(" of ", "\nof "), fontsize=7)
    panel.tick_params(axis="x", labelsize=6)
