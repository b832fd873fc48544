"""Whether the tiles of a cohort show the same piece of tissue: micrometres per tile, compared over slides.

Features of 64 um tiles and of 128 um tiles are not comparable. Magnification follows the scanner and the scanner
follows the site, so that a mixture of scales becomes a label of the site.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

TOLERANCE = 0.10
"""Largest difference between two slides that counts as one scale, as a share of the smaller."""


@dataclass(frozen=True)
class ScaleGroup:
    """Slides whose tiles have one size.

    Attributes
    ----------
    um : float
        Median side of a tile, micrometres.
    slides : tuple of str
        Their names, in the order given.
    """

    um: float
    slides: tuple[str, ...]


def scale_groups(rows: Iterable[tuple[str, float | None]], tolerance: float = TOLERANCE) -> list[ScaleGroup]:
    """Group slides by the size of their tiles.

    Parameters
    ----------
    rows : iterable of (str, float or None)
        A slide's name and the side of its tiles in micrometres; None, NaN and values that are not positive are
        unknown and left out.
    tolerance : float
        A size that exceeds the smallest of its group by more than this share begins another group.

    Returns
    -------
    list of ScaleGroup
        The largest group first; empty where no size is known.
    """
    known = [(float(um), str(slide)) for slide, um in rows if um is not None and math.isfinite(um) and um > 0]
    groups: list[list[tuple[float, str]]] = []
    for um, slide in sorted(known, key=lambda row: row[0]):
        if groups and um <= groups[-1][0][0] * (1 + tolerance):
            groups[-1].append((um, slide))
        else:
            groups.append([(um, slide)])
    out = [ScaleGroup(group[len(group) // 2][0], tuple(slide for _, slide in group)) for group in groups]
    return sorted(out, key=lambda group: (-len(group.slides), group.um))


def compare_scales(rows: Iterable[tuple[str, float | None]], tolerance: float = TOLERANCE) -> str | None:
    """Say how the tiles of a cohort differ in size, or None when all that are known agree.

    Parameters
    ----------
    rows, tolerance
        As in `scale_groups`.

    Returns
    -------
    str or None
        One sentence without a final full stop, with the number of slides of each size and an example of each.
    """
    groups = scale_groups(rows, tolerance)
    if len(groups) < 2:
        return None
    total = sum(len(group.slides) for group in groups)
    parts = [f"{len(g.slides)} of {total} slides have tiles of {g.um:.4g} um (first: {g.slides[0]})" for g in groups]
    shown = ", ".join(parts[:4]) + (f" and {len(parts) - 4} more sizes" if len(parts) > 4 else "")
    low, high = min(g.um for g in groups), max(g.um for g in groups)
    return f"tiles differ in size by a factor of {high / low:.3g}: {shown}"


SCALE_REMEDY = (
    "extract all slides at one physical scale (tile side in px times um per px); magnification follows the scanner "
    "and the scanner follows the site"
)
