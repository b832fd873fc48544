"""One page on one test patient."""

from __future__ import annotations

from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...io.slide_maps import SlideMap
from ..display_names import MODALITIES
from .interpretation import Picture, draw_attention, draw_prototypes, prototype_colour
from .style import PALETTE, empty_figure

NOTE = "Research output of a model, made from out-of-fold predictions. Not for diagnosis."


@dataclass(frozen=True)
class Card:
    """What a card shows.

    Attributes
    ----------
    patient, slide, heading : str
        ``heading`` names cohort, variant and fold.
    facts : dict
        Label, follow-up and the like, as text.
    probabilities : DataFrame
        ``modality, class, probability``; may be empty.
    risk_rank : dict
        Modality to the percentile of the predicted risk among the fold's test patients, 0 to 100.
    scores : Series
        Prototype to its standardised score.
    tiles : list of (ndarray, float)
        Tiles of most attention with their percentile of attention.
    """

    patient: str
    slide: str
    heading: str
    facts: dict[str, str]
    probabilities: pd.DataFrame
    risk_rank: dict[str, float]
    scores: pd.Series
    tiles: list[tuple[np.ndarray, float]] = field(default_factory=list)


def draw_card(card: Card, drawn: SlideMap | None, picture: Picture | None) -> Figure:
    """Draw one page (A4 portrait)."""
    if drawn is None and card.scores.empty:
        return empty_figure(f"{card.patient}: nothing to show")
    figure = plt.figure(figsize=(8.0, 10.4))
    grid = figure.add_gridspec(4, 6, height_ratios=[0.62, 3.6, 1.25, 2.2])
    head = figure.add_subplot(grid[0, :])
    head.set_axis_off()
    head.text(0, 1.0, card.patient, fontsize=15, weight="bold", va="top")
    head.text(0, 0.42, card.heading, fontsize=9, va="top", color="0.3")
    head.text(0, 0.02, "   ".join(f"{k}: {v}" for k, v in card.facts.items()), fontsize=9, va="top")
    left, right = figure.add_subplot(grid[1, :3]), figure.add_subplot(grid[1, 3:])
    if drawn is not None and picture is not None:
        heat = draw_attention(left, drawn, picture)
        left.set_title(f"Attention, {card.slide}", fontsize=9)
        bar = figure.colorbar(heat, ax=left, orientation="horizontal", shrink=0.8, pad=0.02)
        bar.set_label("percentile in the slide", fontsize=7)
        bar.ax.tick_params(labelsize=6)
        handles = draw_prototypes(right, drawn, picture, list(card.scores.index))
        right.set_title("Style prototypes", fontsize=9)
        right.legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=4, fontsize=7, handlelength=1
        )
    else:
        for panel in (left, right):
            panel.set_axis_off()
        left.text(0, 0.5, "no slide pixels", fontsize=9)
    strip = grid[2, :].subgridspec(1, max(len(card.tiles), 1))
    for i, (pixels, rank) in enumerate(card.tiles):
        panel = figure.add_subplot(strip[0, i])
        panel.imshow(pixels)
        panel.set(xticks=[], yticks=[])
        panel.set_title(f"attention {rank:.0f} %", fontsize=6.5, pad=2)
    _scores(figure.add_subplot(grid[3, :2]), card.scores)
    _classes(figure.add_subplot(grid[3, 2:4]), card.probabilities)
    _risk(figure.add_subplot(grid[3, 4:]), card.risk_rank)
    figure.text(0.01, -0.012, NOTE, fontsize=7, color="0.35")
    return figure


def _scores(panel: Axes, scores: pd.Series) -> None:
    y = np.arange(len(scores))
    panel.barh(y, scores.to_numpy(), color=[prototype_colour(i) for i in y], height=0.7)  # type: ignore[arg-type]
    panel.axvline(0, color="0.4", lw=0.7)
    panel.set(yticks=y, ylim=(len(y) - 0.5, -0.5))
    panel.set_yticklabels(scores.index, fontsize=7)
    panel.set_xlabel("score (SD of training patients)", fontsize=7)
    panel.set_title("Prototypes", fontsize=9)


def _classes(panel: Axes, rows: pd.DataFrame) -> None:
    panel.set_title("Predicted label", fontsize=9)
    if rows.empty:
        panel.set_axis_off()
        return
    table = rows.pivot(index="modality", columns="class", values="probability")
    table = table.loc[[m for m in MODALITIES if m in table.index]]
    start = np.zeros(len(table))
    y = np.arange(len(table))
    for i, name in enumerate(table):
        share = table[name].fillna(0).to_numpy()
        panel.barh(y, share, left=start, color=PALETTE[(i + 4) % 6], height=0.6, label=str(name))
        for at, (begin, width) in enumerate(zip(start, share, strict=True)):
            if width > 0.15:
                panel.text(begin + width / 2, at, f"{width:.0%}", ha="center", va="center", fontsize=7)
        start = start + share
    panel.set(yticks=y, ylim=(len(y) - 0.5, -0.5), xlim=(0, 1))
    panel.set_yticklabels([MODALITIES[m] for m in table.index], fontsize=7)
    panel.set_xlabel("probability (linear probe)", fontsize=7)
    panel.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.22), handlelength=1)


def _risk(panel: Axes, ranks: dict[str, float]) -> None:
    panel.set_title("Predicted risk", fontsize=9)
    if not ranks:
        panel.set_axis_off()
        return
    names = [m for m in MODALITIES if m in ranks]
    y = np.arange(len(names))
    panel.hlines(y, 0, 100, color="0.85", lw=5)
    panel.plot([ranks[m] for m in names], y, "o", color=PALETTE[1], ms=7)
    panel.set(yticks=y, ylim=(len(y) - 0.5, -0.5), xlim=(-3, 103))
    panel.set_yticklabels([MODALITIES[m] for m in names], fontsize=7)
    panel.set_xlabel("percentile among test patients", fontsize=7)
