"""The grid of tiles and what each tile holds of a mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...config.slides import TileSettings
from ...core.errors import InputError

MAX_TILES = 4_000_000  # a glass slide in tiles of 25 um; more would be a wrong resolution


@dataclass(frozen=True)
class Grid:
    """Tiles of one slide.

    Attributes
    ----------
    coords : ndarray of int64, shape (n, 2)
        Top-left x, y in level-0 pixels, row-major. Negative where the slide is padded.
    size_level0, step_level0 : int
        Side of a tile and distance of neighbours, level-0 pixels.
    """

    coords: np.ndarray
    size_level0: int
    step_level0: int


def tile_grid(bounds: tuple[int, int, int, int], mpp: float, settings: TileSettings) -> Grid:
    """Lay the grid over a slide's scanned region.

    The side of a tile in level-0 pixels is ``size_px * settings.mpp / mpp``, rounded to a
    multiple of the power of two by which a tile is shrunk (2 on a 40x slide read at 20x), so that
    a decoder that halves in the DCT domain never meets half a pixel. The error is below half a
    per cent, far less than that of any slide's mpp.

    Parameters
    ----------
    bounds : tuple of int
        x, y, width, height of the region, level-0 pixels.
    mpp : float
        The slide's micrometres per pixel.
    settings : TileSettings
        Size, resolution, overlap and what happens at the edge.

    Returns
    -------
    Grid
        With ``edge="drop"`` only tiles inside the region; with ``"pad"`` the region is padded
        evenly on all sides to a multiple of the step (as published).
    """
    scale = _snap(settings.mpp / mpp)
    size = _round_to_octave(settings.size_px * scale, scale)
    step = size if not settings.overlap_px else max(1, size - _round_to_octave(settings.overlap_px * scale, scale))
    x, y, width, height = bounds
    count = (width // step + 2) * (height // step + 2)
    if count > MAX_TILES:
        problem = f"{width:,} x {height:,} px at {mpp:.4g} um/px would be {count:,} tiles (at most {MAX_TILES:,})"
        raise InputError(problem, remedy="check the slide's mpp, or enlarge the tiles (slides.tile)")
    if settings.edge == "drop":
        xs = np.arange(x, x + width - size + 1, step, dtype=np.int64)
        ys = np.arange(y, y + height - size + 1, step, dtype=np.int64)
    else:
        xs, ys = _padded(x, width, size, step), _padded(y, height, size, step)
    coords = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    return Grid(coords, size, step)


def _padded(start: int, length: int, size: int, step: int) -> np.ndarray:
    """Return tile starts over one axis padded evenly so that tiles fit exactly."""
    count = max(1, -(-(length - (size - step)) // step))
    surplus = count * step + (size - step) - length
    return start - surplus // 2 + step * np.arange(count, dtype=np.int64)


def _snap(scale: float) -> float:
    """Take a scale within 0.5 % of a power of two for it (0.499 um/px read at 0.5 is no resampling)."""
    octave = 2.0 ** round(math.log2(scale))
    return octave if abs(scale / octave - 1) <= 0.005 else scale


def _round_to_octave(pixels: float, scale: float) -> int:
    """Round to a multiple of the largest power of two (at most 8) not above ``scale``."""
    unit = 1
    while unit < 8 and unit * 2 <= scale * 1.03:
        unit *= 2
    return max(unit, unit * round(pixels / unit))


def tile_shares(mask: np.ndarray, bounds: tuple[int, int, int, int], grid: Grid) -> np.ndarray:
    """Share of each tile's area that a mask covers, at sub-pixel precision.

    Parameters
    ----------
    mask : ndarray, shape (h, w)
        Share of each mask pixel that is set (bool or 0 to 1), spread over ``bounds``; what lies
        outside is unset.
    bounds : tuple of int
        x, y, width, height of the mask, level-0 pixels.
    grid : Grid
        The tiles.

    Returns
    -------
    ndarray of float32, shape (n,)
    """
    height, width = mask.shape
    sums = np.zeros((height + 1, width + 1))
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.float64), axis=1, out=sums[1:, 1:])
    x0 = (grid.coords[:, 0] - bounds[0]) * (width / bounds[2])
    y0 = (grid.coords[:, 1] - bounds[1]) * (height / bounds[3])
    w, h = grid.size_level0 * width / bounds[2], grid.size_level0 * height / bounds[3]

    def total(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = np.clip(x, 0, width), np.clip(y, 0, height)
        i, j = np.minimum(y.astype(int), height - 1), np.minimum(x.astype(int), width - 1)
        v, u = y - i, x - j
        top = sums[i, j] * (1 - u) + sums[i, j + 1] * u
        return top * (1 - v) + (sums[i + 1, j] * (1 - u) + sums[i + 1, j + 1] * u) * v

    inside = total(x0 + w, y0 + h) - total(x0, y0 + h) - total(x0 + w, y0) + total(x0, y0)
    return np.clip(inside / (w * h), 0, 1).astype(np.float32)
