"""What a slide's features and coordinates say about each other, whoever wrote them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .base import ForeignSlide, stride

_REFERENCE_UM = 10.0  # micrometres per pixel at magnification 1, so 0.5 at 20x


MANY = 50  # tiles from which neighbours are to be expected


def doubts(slide: ForeignSlide, extent: tuple[int, int] | None = None) -> list[str]:
    """List what does not fit together in one slide; empty where all does.

    Parameters
    ----------
    slide : ForeignSlide
        As a reader returned it.
    extent : tuple of int, optional
        Width and height of level 0 as the slide file says; what the features' file says where not given.

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
        out += _beyond(coords, extent or (about.get("level0_width"), about.get("level0_height")))
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


def _beyond(coords: np.ndarray, extent: tuple[Any, Any]) -> list[str]:
    """Tiles that begin beyond the slide; and whether they would lie on it with x and y exchanged."""
    if not all(isinstance(side, int | float) and side > 0 for side in extent):
        return []
    reach = coords.max(axis=0)
    over = [axis for axis in (0, 1) if reach[axis] >= extent[axis]]
    if not over:
        return []
    axis = over[0]
    said = (
        f"coordinates reach {int(reach[axis])}, beyond the slide's {('width', 'height')[axis]} of {extent[axis]:g} px"
    )
    if reach[0] < extent[1] and reach[1] < extent[0]:
        said += "; with x and y exchanged all tiles lie on it, so they seem to be"
    return [said]


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
