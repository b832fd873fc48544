"""Tiles of a slide, cut on demand for a viewer that zooms by factors of two."""

from __future__ import annotations

import io
import math
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from ..core.errors import InputError
from ..slides.reading.mpp import resolve_mpp
from ..slides.reading.open import open_slide

TILE = 256
QUALITY = 85


class Pyramid:
    """A slide as square tiles. Zoom 0 is the whole slide in one tile; each further zoom doubles the scale.

    Attributes
    ----------
    width, height : int
        Level-0 pixels.
    last : int
        The zoom at which one pixel of a tile is one of level 0.
    """

    def __init__(self, path: str | Path) -> None:
        self._slide = open_slide(path)
        self._lock = threading.Lock()  # the readers of some formats serve one thread at a time
        self.width, self.height = self._slide.width, self._slide.height
        self.last = max(0, math.ceil(math.log2(max(self.width, self.height) / TILE)))

    def close(self) -> None:
        """Release the file."""
        self._slide.close()

    def mpp(self, table: float | None = None) -> float | None:
        """Micrometres per pixel: of the slide table, else of the file; None where it is not known."""
        try:
            return resolve_mpp(self._slide.properties, table, self._slide.path).value
        except InputError:
            return None

    def tile(self, zoom: int, column: int, row: int) -> np.ndarray:
        """Read one tile.

        Parameters
        ----------
        zoom : int
            0 to ``last``.
        column, row : int
            From the upper left corner.

        Returns
        -------
        ndarray of uint8, shape (256, 256, 3)
            White beyond the slide.

        Raises
        ------
        InputError
            There is no such tile, or its pixels cannot be read.
        """
        span = TILE << (self.last - zoom) if 0 <= zoom <= self.last else 0
        x, y = column * span, row * span
        if not span or not (0 <= x < self.width and 0 <= y < self.height):
            raise InputError(f"there is no tile {zoom}/{column}/{row}", file=self._slide.path)
        width, height = min(span, self.width - x), min(span, self.height - y)
        scale = span / TILE
        shown = np.empty((max(1, round(height / scale)), max(1, round(width / scale)), 3), np.uint8)
        with self._lock:
            self._slide.read_box(x, y, width, height, shown)
        out = np.full((TILE, TILE, 3), 255, np.uint8)
        out[: shown.shape[0], : shown.shape[1]] = shown
        return out

    def jpeg(self, zoom: int, column: int, row: int) -> bytes:
        """One tile as a JPEG file; arguments and errors as those of `tile`."""
        buffer = io.BytesIO()
        Image.fromarray(self.tile(zoom, column, row)).save(buffer, "JPEG", quality=QUALITY)
        return buffer.getvalue()
