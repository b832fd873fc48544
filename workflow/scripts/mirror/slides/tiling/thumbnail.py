"""What a person looks at: tissue contours for QuPath, a thumbnail with contours and kept tiles."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ...core.atomic import atomic_path
from ..tissue.geojson import PEN_RGB, TILE_RGB, TISSUE_RGB
from .grid import Grid

TILE_TINT = 0.18
JPEG_QUALITY = 85


def write_thumbnail(
    path: str | Path,
    overview: np.ndarray,
    bounds: tuple[int, int, int, int],
    shapes: dict[str, list[list[np.ndarray]]],
    kept: Grid,
    longer_px: int,
) -> None:
    """Write the overview with outlines and kept tiles as a JPEG.

    Parameters
    ----------
    path : path-like
        Output.
    overview : ndarray of uint8, shape (h, w, 3)
        The scanned region.
    bounds : tuple of int
        Where it lies, level-0 pixels.
    shapes : dict of str to outlines
        As for `write_geojson`.
    kept : Grid
        The kept tiles.
    longer_px : int
        Longer side of the picture; it is never enlarged.
    """
    shrink = min(1.0, longer_px / max(overview.shape[:2]))
    size = (max(1, round(overview.shape[1] * shrink)), max(1, round(overview.shape[0] * shrink)))
    picture = cv2.resize(overview, size, interpolation=cv2.INTER_AREA)
    scale = np.array([size[0] / bounds[2], size[1] / bounds[3]])
    tint = picture.copy()
    boxes = (kept.coords - bounds[:2]) * scale
    ends = np.rint(boxes + kept.size_level0 * scale).astype(int)
    for (x0, y0), (x1, y1) in zip(np.rint(boxes).astype(int).tolist(), ends.tolist(), strict=True):
        cv2.rectangle(tint, (x0, y0), (x1 - 1, y1 - 1), TILE_RGB, -1)
    picture = cv2.addWeighted(tint, TILE_TINT, picture, 1 - TILE_TINT, 0)
    for name, pieces in shapes.items():
        colour = PEN_RGB if name == "Pen" else TISSUE_RGB
        rings = [np.rint((ring - bounds[:2]) * scale).astype(np.int32) for rings in pieces for ring in rings]
        cv2.polylines(picture, rings, True, colour, 1, cv2.LINE_AA)
    with atomic_path(path) as part:
        Image.fromarray(picture).save(part, "JPEG", quality=JPEG_QUALITY)
