"""Who is in the study, what their slides look like, which genes were chosen."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from .style import PALETTE, colour, empty_figure, grid_of

# Words of a slide's message, and what the contact sheet says in their place.
SIGNS = {
    "differs from": "mpp contradicted",
    "more than a glass slide": "larger than the glass",
    "are enlarged": "coarser than the tiles",
    "is read as the slide": "not the first picture",
    "same content as": "duplicate",
}
TONES = {"slides": PALETTE[0], "patients": PALETTE[2], "samples": PALETTE[1]}


def flow(table: pd.DataFrame, title: str) -> Figure:
    """Cohort flow: a box a step, and beside it what was lost and why.

    Parameters
    ----------
    table : DataFrame
        ``step, unit, kept, dropped, reason`` in order.
    """
    lost = bool((table["dropped"] > 0).any())
    figure, panel = plt.subplots(figsize=(7.2 if lost else 3.8, 0.4 + 0.46 * len(table)))
    panel.set(xlim=(0, 10 if lost else 5.2), ylim=(-len(table) + 0.4, 0.7))
    panel.set_title(title if lost else f"{title}: no patient was left out", loc="left")
    panel.set_axis_off()
    for i, row in enumerate(table.itertuples()):
        tone = TONES.get(row.unit, PALETTE[7])
        box = FancyBboxPatch(
            (0.1, -i - 0.3), 5.0, 0.62, boxstyle="round,pad=0.02,rounding_size=0.08", fc="white", ec=tone, lw=1.2
        )
        panel.add_patch(box)
        panel.text(0.3, -i, f"{row.step}", va="center", fontsize=8)
        panel.text(4.95, -i, f"{row.kept} {row.unit}", va="center", ha="right", fontsize=8, weight="bold", color=tone)
        if row.dropped:
            why = str(row.reason) if isinstance(row.reason, str) else ""
            panel.annotate("", (5.7, -i), (5.15, -i), arrowprops={"arrowstyle": "->", "color": "0.45"})
            words = textwrap.shorten(f"{row.dropped} lost: {why}" if why else f"{row.dropped} lost", 130)
            panel.text(5.8, -i, textwrap.fill(words, 46), va="center", fontsize=7, color="0.25")
    return figure


def contact_sheet(slides: pd.DataFrame, thumbnails: Path, most: int = 60) -> Figure:
    """Thumbnails of slides, outliers first and framed.

    Parameters
    ----------
    slides : DataFrame
        ``slide_id, status, n_tiles, mpp, pen_fraction, message``.
    thumbnails : Path
        Folder of ``{slide_id}.jpg``.
    most : int
        Slides shown; failed and unusual ones come first.
    """
    if slides.empty:
        return empty_figure("no slides")
    slides = slides.assign(flag=flags(slides))
    slides = slides.assign(rank=flag_ranks(slides["flag"].tolist())).sort_values(["rank", "slide_id"])
    shown = slides.head(most)
    columns = 10
    figure, axes = grid_of(len(shown), width=1.25, height=1.45, columns=columns)
    for panel, row in zip(axes, shown.itertuples(), strict=True):
        path = thumbnails / f"{row.slide_id}.jpg"
        if path.exists():
            with Image.open(path) as picture:
                picture.thumbnail((240, 240))
                panel.imshow(np.asarray(picture.convert("RGB")))
        else:
            panel.text(0.5, 0.5, row.status, ha="center", va="center", transform=panel.transAxes)
        panel.set(xticks=[], yticks=[])
        tiles = "" if pd.isna(row.n_tiles) else f"{int(row.n_tiles)} tiles"
        name = str(getattr(row, "shown", row.slide_id))
        panel.set_title(f"{name if len(name) <= 24 else '…' + name[-23:]}\n{tiles}", fontsize=4.5)
        panel.set_xlabel(row.flag, fontsize=4.5, color=PALETTE[1])
        for spine in panel.spines.values():
            spine.set(visible=True, color=PALETTE[1] if row.flag else "0.8", lw=1.4 if row.flag else 0.5)
    figure.suptitle(f"{len(shown)} of {len(slides)} slides, {int((slides['flag'] != '').sum())} flagged", fontsize=8)
    return figure


def flag_ranks(flags: Sequence[str]) -> list[int]:
    """Places of slides in a list to look through: failed ones, then rare flags, then what most slides share, then none.

    Parameters
    ----------
    flags : sequence of str
        From `flags`.
    """
    count = Counter(flags)
    failed = ("failed", "empty", "left out")
    return [0 if flag.startswith(failed) else count[flag] if flag else len(flags) + 1 for flag in flags]


def flags(slides: pd.DataFrame) -> list[str]:
    """Why a slide deserves a look: failed, few tiles, much pen, unusual or guessed resolution."""
    tiles = pd.to_numeric(slides["n_tiles"], errors="coerce")
    middle = float(np.nanmedian(tiles)) if tiles.notna().any() else 0.0
    few = max(0.1 * middle, min(4.0, 0.5 * middle))  # of a cohort of small pieces not every slide is odd
    mpp = pd.to_numeric(slides.get("mpp", pd.Series(np.nan, slides.index)), errors="coerce")
    usual = mpp.round(2).mode()
    pen = pd.to_numeric(slides.get("pen_fraction", pd.Series(np.nan, slides.index)), errors="coerce")
    source = slides.get("mpp_source", pd.Series("", slides.index)).astype(str)
    message = slides.get("message", pd.Series("", slides.index)).fillna("").astype(str)
    out = []
    for i in range(len(slides)):
        found = []
        status = str(slides["status"].iloc[i])
        if status != "ok":
            found.append(status)
        elif tiles.iloc[i] < few:
            found.append("few tiles")
        if pen.iloc[i] > 0.05:
            found.append(f"pen {pen.iloc[i]:.0%}")
        if len(usual) and mpp.iloc[i] > 0 and abs(np.log2(mpp.iloc[i] / usual.iloc[0])) > 0.6:
            found.append(f"mpp {mpp.iloc[i]:.2g}")
        if source.iloc[i] == "objective":
            found.append("mpp from objective power")
        found += [short for sign, short in SIGNS.items() if sign in message.iloc[i]]
        out.append(", ".join(found))
    return out


def gene_stability(tables: dict[str, list[str]], from_list: set[str]) -> Figure:
    """In how many folds each gene was chosen, and how much two folds agree.

    Parameters
    ----------
    tables : dict
        Fold to its genes.
    from_list : set of str
        Genes that a user's list brought, in every fold.
    """
    if not tables:
        return empty_figure("no gene selection")
    counts = pd.Series([g for genes in tables.values() for g in genes]).value_counts()
    figure, (bars, square) = grid_of(2, width=3.6, height=3.0, columns=2)
    at = np.arange(1, len(tables) + 1)
    listed = counts.index.isin(list(from_list))
    chosen = [int((counts[~listed] == k).sum()) for k in at]
    given = [int((counts[listed] == k).sum()) for k in at]
    bars.bar(at, chosen, color=colour(0), label="chosen")
    if sum(given):
        bars.bar(at, given, bottom=chosen, color=colour(1), label="from the list")
    bars.set(xlabel="Folds that chose the gene", ylabel="Genes", xticks=at)
    bars.legend()
    sets = [set(g) for g in tables.values()]
    jaccard = np.array([[len(a & b) / max(len(a | b), 1) for b in sets] for a in sets])
    picture = square.imshow(jaccard, vmin=0, vmax=1, cmap="viridis")
    for i in range(len(sets)):
        for j in range(len(sets)):
            square.text(
                j,
                i,
                f"{jaccard[i, j]:.2f}",
                ha="center",
                va="center",
                fontsize=6,
                color="white" if jaccard[i, j] < 0.6 else "black",
            )
    square.set(xticks=range(len(sets)), yticks=range(len(sets)), title="Jaccard index of two folds")
    square.set_xticklabels(tables, rotation=90)
    square.set_yticklabels(tables)
    figure.colorbar(picture, ax=square, shrink=0.8)
    return figure
