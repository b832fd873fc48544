"""Grid tiles cut out of directly decoded JPEG tiles, in threads."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future

import numpy as np

from .fast_jpeg import JpegSlide, put
from .jpeg_plan import JpegPlan
from .reader import WHITE
from .resample import resample

DECODE_CHUNK, TILE_CHUNK = 32, 8  # JPEG tiles, grid tiles a task


class TileCutter:
    """Decodes what a step needs, cuts its grid tiles, and drops what no later step needs.

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
        self._corners, self._side = np.asarray(coords, np.float64) / self._scale, size / self._scale
        self._decoded: dict[int, np.ndarray] = {}
        self._spare: list[np.ndarray] = []  # decoded tiles no longer needed, to decode into
        self._windows = threading.local()
        self._decoding: list[Future] = []
        self._lock = threading.Lock()
        self._open = [-(-len(rows) // TILE_CHUNK) for rows in plan.rows]  # cutting tasks left, by step
        self._finished = 0  # steps that are finished, and all before them

    def submit(self, pool: Executor, step: int, out: np.ndarray) -> list[Future]:
        """Start a step; call for each in turn.

        Parameters
        ----------
        pool : Executor
            Takes tasks in order, so that whatever a cutting task waits for is running or done.
        step : int
        out : ndarray of uint8, shape (k, out_px, out_px, 3)
            Where the step's tiles go.

        Returns
        -------
        list of Future
            Done when ``out`` is filled.
        """
        new, rows = self.plan.new[step].tolist(), self.plan.rows[step].tolist()
        self._decoding = [job for job in self._decoding if not job.done() or job.exception()]
        self._decoding += [
            pool.submit(self._decode, new[i : i + DECODE_CHUNK]) for i in range(0, len(new), DECODE_CHUNK)
        ]
        return [
            pool.submit(self._cut, step, self._decoding, rows[i : i + TILE_CHUNK], out[i : i + TILE_CHUNK])
            for i in range(0, len(rows), TILE_CHUNK)
        ]

    def _decode(self, keys: list[int]) -> None:
        for key in keys:
            row, column = divmod(key, self._columns)
            try:
                buffer = self._spare.pop()
            except IndexError:
                buffer = None
            self._decoded[key] = self._slide.decode(self._level, column, row % self._rows, buffer)

    def _cut(self, step: int, wait: list[Future], rows: list[int], out: np.ndarray) -> None:
        for job in wait:
            job.result()
        for i, tile in zip(rows, out, strict=True):
            self._cut_one(i, tile)
        with self._lock:
            self._open[step] -= 1
            while self._finished < len(self._open) and not self._open[self._finished]:
                self._spare += [self._decoded.pop(key) for key in self.plan.done[self._finished].tolist()]
                self._finished += 1

    def _cut_one(self, i: int, out: np.ndarray) -> None:
        x, y = self._corners[i].tolist()
        side, tile_w, tile_h = self._side, self._tile_w, self._tile_h
        left, top = int((x + 1e-6) // 1), int((y + 1e-6) // 1)
        right, bottom = int(-((-x - side + 1e-6) // 1)), int(-((-y - side + 1e-6) // 1))
        window = self._window(bottom - top, right - left)
        if left < 0 or top < 0 or right > self._columns * tile_w or bottom > self._rows * tile_h:
            window[:] = WHITE
        base = int(self.plan.strips[i]) * self._rows
        for row in range(max(0, top // tile_h), min(self._rows, -(-bottom // tile_h))):
            for column in range(max(0, left // tile_w), min(self._columns, -(-right // tile_w))):
                piece = self._decoded[(base + row) * self._columns + column]
                put(window, piece, column * tile_w - left, row * tile_h - top)
        resample(window, round(x - left, 6), round(y - top, 6), round(side, 6), round(side, 6), out, exact=self._exact)

    def _window(self, height: int, width: int) -> np.ndarray:
        """An array to gather pixels in, one for each thread and shape."""
        kept = self._windows.__dict__
        window = kept.get((height, width))
        if window is None:
            window = kept[height, width] = np.empty((height, width, 3), np.uint8)
        return window
