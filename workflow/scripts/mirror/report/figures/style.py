"""One look for every figure: colour-blind safe, readable in print, PNG and SVG from one source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.atomic import atomic_path

# Okabe and Ito, "Color Universal Design", without yellow, which is too pale for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F")
LINES = ("-", "--", "-.", ":")
DPI = 200
MARGIN_IN = 0.05

STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": matplotlib.cycler(color=PALETTE),  # type: ignore[attr-defined]
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "mirror",  # the same figure is the same file
    "svg.fonttype": "none",
    "savefig.dpi": DPI,
}


def use_style() -> None:
    """Draw without a screen, in this look, from here on. Called by the scripts that draw, never on import."""
    matplotlib.use("Agg")
    plt.rcParams.update(STYLE)  # type: ignore[arg-type]


def colour(number: int) -> str:
    """The colour of the n-th series."""
    return PALETTE[number % len(PALETTE)]


def line(number: int) -> str:
    """The line style of the n-th series: colours repeat after eight, the pair does not."""
    return LINES[number // len(PALETTE) % len(LINES)]


def grid_of(
    n: int, width: float = 3.3, height: float = 2.9, columns: int = 3, **options
) -> tuple[Figure, Sequence[Axes]]:
    """A figure of ``n`` panels, at most ``columns`` a row; inches a panel."""
    columns = max(1, min(columns, n))
    rows = -(-n // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, **options)
    flat = list(axes.ravel())
    for spare in flat[n:]:
        spare.set_axis_off()
    return figure, flat[:n]


def save_figure(figure: Figure, png: Path, svg: Path | None = None, dpi: int = DPI) -> None:
    """Write a figure as PNG and SVG, atomically, and close it."""
    stable = {"Creator": None, "Date": None}
    figure.draw_without_rendering()  # lay out once, not at every drawing of either file
    figure.set_layout_engine("none")
    for path, metadata in ((png, {"Software": None}), (svg, stable)):
        if path is not None:
            with atomic_path(path) as part:
                figure.savefig(part, dpi=dpi, bbox_inches="tight", pad_inches=MARGIN_IN, metadata=metadata)
    plt.close(figure)


def empty_figure(reason: str) -> Figure:
    """A figure that says why there is nothing to draw, so that a report never has a hole."""
    figure, axes = plt.subplots(figsize=(5, 1.2))
    axes.set_axis_off()
    axes.text(0.5, 0.5, reason, ha="center", va="center", wrap=True)
    return figure
