"""What a slide's features and coordinates say about each other, whoever wrote them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .base import ForeignSlide, stride

_REFERENCE_UM = 10.0  # micrometres per pixel at magnification 1, so 0.5 at 20x


MANY = 50  # tiles from which neighbours are to be expected
APART = 5.0  # factor by which the length of features may differ between slides of one encoder


def usual_length(features: np.ndarray) -> float:
    """Median length (L2 norm) of a slide's feature vectors; NaN where there are none."""
    some = features[:: max(1, len(features) // 1000)].astype(np.float32)
    return float(np.median(np.linalg.norm(some, axis=1))) if len(some) else math.nan


def unlike_lengths(lengths: dict[str, float]) -> dict[str, float]:
    """Slides whose vectors are longer or shorter than the median slide's by `APART`, with the factor."""
    known = {name: length for name, length in lengths.items() if math.isfinite(length) and length > 0}
    if len(known) < 3:
        return {}
    middle = float(np.median(list(known.values())))
    return {name: length / middle for name, length in known.items() if not 1 / APART < length / middle < APART}


def doubts(slide: ForeignSlide) -> list[str]:
    """List what does not fit together in one slide; empty where all does.

    Parameters
    ----------
    slide : ForeignSlide
        As a reader returned it.

    Returns
    -------
    list of str
        One clause per doubt: tiles listed twice, rows of zeros, negative coordinates, coordinates beyond the slide,
        a step between tiles or a magnification that contradicts the tile size.
    """
    out = []
    zeros = int((~slide.features.any(axis=1)).sum()) if slide.features.size else 0
    if zeros:
        out.append(f"{zeros} of {len(slide.features)} rows hold zeros only")
    elif len(slide.features) > 1 and (slide.features == slide.features[0]).all():
        out.append(f"all {len(slide.features)} rows are the same")
    coords, about = slide.coords, slide.attrs
    size = about.get("patch_size_level0")
    if coords is not None and len(coords):
        twice = len(coords) - len(np.unique(coords, axis=0))
        if twice:
            out.append(f"{twice} of {len(coords)} tiles are listed twice (same coordinates)")
        if (coords < 0).any():
            out.append(f"{int((coords < 0).any(axis=1).sum())} tiles have negative coordinates")
        for axis, key in ((0, "level0_width"), (1, "level0_height")):
            extent = about.get(key)
            if isinstance(extent, int | float) and extent > 0 and coords[:, axis].max() >= extent:
                out.append(f"coordinates reach {int(coords[:, axis].max())}, beyond the slide's {key} of {extent:g} px")
        step = stride(coords)
        if size and step is not None and (expected := _step(about, float(size))) and step < 0.9 * expected:
            out.append(f"tiles lie {step:g} px apart where their size of {size:g} px says {expected:g}")
        elif (
            size
            and step is not None
            and len(coords) >= MANY
            and step > 1.5 * (_step(about, float(size)) or float(size))
        ):
            out.append(f"no two tiles lie closer than {step:g} px although their size is {size:g} px: the size or the "
                       "unit of the coordinates is wrong, or tiles were left out between them")  # fmt: skip
    implied = _implied(about)
    if size and implied and abs(implied / float(size) - 1) > 0.1:
        out.append(f"patch_size_level0 is {size:g}, the magnifications say {implied:g}")
    return out


def tile_um(slide: ForeignSlide, mpp: float | None) -> float | None:
    """Return the side of a slide's tiles in micrometres, or None where it is unknown.

    What the file states comes first, then ``patch_size_level0`` times the slide's ``mpp``, then the nominal size of
    the target magnification (0.5 um per px at 20x).
    """
    if slide.tile_um:
        return float(slide.tile_um)
    size = slide.attrs.get("patch_size_level0")
    if size and mpp is not None and math.isfinite(mpp) and mpp > 0:
        return float(size) * mpp
    level0 = slide.attrs.get("level0_magnification")
    if size and level0:
        return float(size) * _REFERENCE_UM / float(level0)
    pixels, target = slide.attrs.get("patch_size"), slide.attrs.get("target_magnification")
    return float(pixels) * _REFERENCE_UM / float(target) if pixels and target else None


def _step(about: dict[str, Any], size: float) -> float | None:
    """Pixels of level 0 between neighbours: the tile's size less the overlap; None where no overlap is stated."""
    overlap, pixels = about.get("overlap"), about.get("patch_size")
    if overlap is None or not pixels:
        return None
    return size * (1 - float(overlap) / float(pixels))


def _implied(about: dict[str, Any]) -> float | None:
    size, level0, target = (about.get(k) for k in ("patch_size", "level0_magnification", "target_magnification"))
    return float(size) * float(level0) / float(target) if size and level0 and target else None
