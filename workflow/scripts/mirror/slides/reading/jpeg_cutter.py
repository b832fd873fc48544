"""Grid tiles cut out of directly decoded JPEG tiles."""

from __future__ import annotations

import numpy as np

from .jpeg import JpegSlide, put
from .jpeg_plan import JpegPlan
from .resample import resample
from .slide import WHITE


class TileCutter:
    """Reads one thread's share of a slide: decodes what a tile needs, cuts it, drops what is not needed again.

    Parameters
    ----------
    slide : JpegSlide
    level : int
        Virtual level to read.
    plan : JpegPlan
    coords : ndarray of int, shape (n, 2)
        Level-0 pixels.
    size : float
        Side of a grid tile, level-0 pixels.
    """

    def __init__(self, slide: JpegSlide, level: int, plan: JpegPlan, coords: np.ndarray, size: float) -> None:
        self.plan, self._slide, self._level = plan, slide, level
        self._tile_w, self._tile_h, self._columns, self._rows = slide.layout(level)
        self._scale, self._exact = slide.downsamples[level], not slide.reduced(level)
        self._coords, self._side = coords, round(size / self._scale, 6)
        self._decoded: dict[int, np.ndarray] = {}
        self._spare: list[np.ndarray] = []  # decoded tiles no longer needed, to decode into
        self._windows: dict[tuple[int, int], np.ndarray] = {}

    def read(self, step: int, out: np.ndarray) -> None:
        """Read a step; call for each in turn.

        Parameters
        ----------
        step : int
        out : ndarray of uint8, shape (k, out_px, out_px, 3)
            Written in place.

        Raises
        ------
        InputError
            When a tile can be decoded by nobody.
        """
        for i, tile in zip(self.plan.steps[step].tolist(), out, strict=True):
            self._cut(i, tile)
        self._spare += [self._decoded.pop(key) for key in self.plan.done[step].tolist()]

    def _cut(self, i: int, out: np.ndarray) -> None:
        x, y = float(self._coords[i, 0]) / self._scale, float(self._coords[i, 1]) / self._scale
        side, tile_w, tile_h, decoded = self._side, self._tile_w, self._tile_h, self._decoded
        left, top = int((x + 1e-6) // 1), int((y + 1e-6) // 1)
        right, bottom = int(-((-x - side + 1e-6) // 1)), int(-((-y - side + 1e-6) // 1))
        window = self._window(bottom - top, right - left)
        if left < 0 or top < 0 or right > self._columns * tile_w or bottom > self._rows * tile_h:
            window[:] = WHITE
        for key in self.plan.keys[i].tolist():
            row, column = divmod(key, self._columns)
            piece = decoded.get(key)
            if piece is None:
                buffer = self._spare.pop() if self._spare else None
                piece = decoded[key] = self._slide.decode(self._level, column, row, buffer)
            put(window, piece, column * tile_w - left, row * tile_h - top)
        resample(window, round(x - left, 6), round(y - top, 6), side, side, out, exact=self._exact)

    def _window(self, height: int, width: int) -> np.ndarray:
        """An array to gather pixels in, one for each shape."""
        window = self._windows.get((height, width))
        if window is None:
            window = self._windows[height, width] = np.empty((height, width, 3), np.uint8)
        return window
