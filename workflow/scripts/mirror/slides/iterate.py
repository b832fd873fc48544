"""Streaming a slide's tiles as batches of pixels, in threads and in flat memory."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from .fast_jpeg import JpegSlide, put
from .reader import WHITE, Slide, open_slide
from .resample import resample

AHEAD = 2  # batches in the making while the caller works on one
CACHE_BYTES = 96 << 20  # decoded JPEG tiles kept for neighbouring grid tiles
DECODE_CHUNK, TILE_CHUNK = 8, 4  # JPEG tiles, grid tiles a task

Batch = tuple[np.ndarray, np.ndarray]


def iterate_tiles(
    slide: str | Path | Slide,
    coords: np.ndarray,
    size_level0: float,
    out_px: int,
    workers: int = 2,
    batch: int = 64,
    backend: str = "auto",
) -> Iterator[Batch]:
    """Read tiles in batches.

    Neighbouring tiles share JPEG tiles; each is decoded once and dropped after its last use.
    Wide slides are read in vertical strips, so that memory does not grow with the slide.

    Parameters
    ----------
    slide : path-like or Slide
        The slide; a path is opened and closed here.
    coords : ndarray of int, shape (n, 2)
        Top-left x, y, level-0 pixels; may reach beyond the slide (white).
    size_level0 : float
        Side of a tile, level-0 pixels.
    out_px : int
        Side of the returned tiles, pixels.
    workers : int
        Reading threads.
    batch : int
        Tiles a batch; the last may be smaller.
    backend : {"auto", "openslide"}
        ``auto`` decodes JPEG tiles directly where that gives the same pixels.

    Yields
    ------
    indices : ndarray of int64, shape (k,)
        Rows of ``coords``. Every row comes exactly once; the order is chosen for speed.
    tiles : ndarray of uint8, shape (k, out_px, out_px, 3)
        RGB, the caller's own.

    Raises
    ------
    InputError
        When the slide cannot be opened or read.
    """
    source = slide if isinstance(slide, Slide) else open_slide(slide, backend, workers)
    coords = np.asarray(coords).reshape(-1, 2)
    cv2.setNumThreads(1)  # the threads are ours: OpenCV's own would only fight them
    try:
        if isinstance(source, JpegSlide) and backend == "auto":
            level = source.best_level(size_level0 / out_px)
            plan = _Plan.of(source, level, coords, size_level0, batch)
            yield from _direct(source, level, plan, coords, size_level0, out_px, workers)
        else:
            yield from _plain(source, coords, size_level0, out_px, workers, batch)
    finally:
        if source is not slide:
            source.close()


def _plain(slide: Slide, coords: np.ndarray, size: float, out_px: int, workers: int, batch: int) -> Iterator[Batch]:
    """Read each tile by itself."""

    def tasks() -> Iterator[_Made]:
        for start in range(0, len(coords), batch):
            indices = np.arange(start, min(start + batch, len(coords)))
            tiles = buffers.take(len(indices))
            jobs = [
                pool.submit(slide.read_box, float(coords[i, 0]), float(coords[i, 1]), size, size, tiles[k])
                for k, i in enumerate(indices)
            ]
            yield _Made(indices, tiles, jobs)

    buffers = _Buffers((batch, out_px, out_px, 3))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from _ahead(tasks())


class _Buffers:
    """Batch arrays that are used again once nobody holds them: fresh memory costs more than copying."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._held = [np.empty(shape, np.uint8)]
        self._unheld = self._references(0)  # what the interpreter counts when nobody else holds one

    def _references(self, i: int) -> int:
        return sys.getrefcount(self._held[i])

    def take(self, count: int) -> np.ndarray:
        """Return the first ``count`` rows of a free array."""
        for i in range(len(self._held)):
            if self._references(i) == self._unheld:
                return self._held[i][:count]
        self._held.append(np.empty(self._shape, np.uint8))
        return self._held[-1][:count]


@dataclass
class _Made:
    """A batch in the making."""

    indices: np.ndarray
    tiles: np.ndarray
    jobs: list[Future]
    after: Callable[[], None] | None = None


def _ahead(making: Iterator[_Made]) -> Iterator[Batch]:
    """Keep a few batches in the making and hand them out in order; the first error is raised."""
    queue: deque[_Made] = deque()

    def finish() -> Batch:
        item = queue[0]
        for job in item.jobs:
            job.result()
        if item.after:
            item.after()
        queue.popleft()
        return item.indices, item.tiles

    try:
        for item in making:
            queue.append(item)
            if len(queue) > AHEAD:
                yield finish()
        while queue:
            yield finish()
    finally:
        for item in queue:
            for job in item.jobs:
                job.cancel()


@dataclass(frozen=True)
class _Plan:
    """Which JPEG tiles each batch needs, decodes first, and may drop.

    Attributes
    ----------
    batches : list of ndarray
        Rows of ``coords``, in reading order: strip by strip, then row by row.
    strips : ndarray of int64, shape (n,)
        The strip of each row of ``coords``.
    new, done : list of ndarray
        For each batch the keys to decode and the keys used for the last time. A key is
        ``(strip * rows + row) * columns + column``.
    """

    batches: list[np.ndarray]
    strips: np.ndarray
    new: list[np.ndarray]
    done: list[np.ndarray]

    @classmethod
    def of(cls, slide: JpegSlide, level: int, coords: np.ndarray, size: float, batch: int) -> _Plan:
        """Plan the reading of ``coords``."""
        if not len(coords):
            return cls([], np.empty(0, np.int64), [], [])
        tile_w, tile_h, columns, rows = slide.layout(level)
        scale = slide.downsamples[level]
        first = np.floor(coords / scale / (tile_w, tile_h) + 1e-6).astype(np.int64)
        last = np.ceil((coords + size) / scale / (tile_w, tile_h) - 1e-6).astype(np.int64)
        bytes_a_column = tile_w * tile_h * 3 * (2 * size / scale / tile_h + 2)
        wide = max(4, int(CACHE_BYTES / bytes_a_column)) * tile_w * scale
        strips = ((coords[:, 0] - coords[:, 0].min()) // max(wide, 2 * size)).astype(np.int64)
        order = np.lexsort((coords[:, 0], coords[:, 1], strips))
        batches = [order[i : i + batch] for i in range(0, len(order), batch)]
        needed = []
        for part in batches:
            keys = {
                (int(strips[i]) * rows + row) * columns + column
                for i in part
                for row in range(max(0, first[i, 1]), min(rows, last[i, 1]))
                for column in range(max(0, first[i, 0]), min(columns, last[i, 0]))
            }
            needed.append(np.array(sorted(keys), np.int64))
        flat = np.concatenate(needed)
        of_batch = np.repeat(np.arange(len(needed)), [len(k) for k in needed])
        every, opens = np.unique(flat, return_index=True)
        closes = len(flat) - 1 - np.unique(flat[::-1], return_index=True)[1]
        opens, closes = of_batch[opens], of_batch[closes]
        new = [every[opens == b] for b in range(len(needed))]
        return cls(batches, strips, new, [every[closes == b] for b in range(len(needed))])


def _direct(
    slide: JpegSlide, level: int, plan: _Plan, coords: np.ndarray, size: float, out_px: int, workers: int
) -> Iterator[Batch]:
    """Decode each JPEG tile once, then cut grid tiles out of them."""
    tile_w, tile_h, columns, rows = slide.layout(level)
    scale, exact = slide.downsamples[level], not slide.reduced(level)
    cache: dict[int, np.ndarray] = {}
    spare: list[np.ndarray] = []  # decoded tiles no longer needed, to decode into
    buffers = _Buffers((max(map(len, plan.batches), default=0), out_px, out_px, 3))
    windows: dict[tuple[int, int, int], np.ndarray] = {}  # one for each thread and shape

    def decode(keys: list[int]) -> None:
        for key in keys:
            row, column = divmod(key, columns)
            try:
                buffer = spare.pop()
            except IndexError:
                buffer = None
            cache[key] = slide.decode(level, column, row % rows, buffer)

    def cut(wait: list[Future], part: list[int], out: np.ndarray) -> None:
        for job in wait:
            job.result()
        for k, i in enumerate(part):
            x, y, side = float(coords[i, 0]) / scale, float(coords[i, 1]) / scale, size / scale
            left, top = int((x + 1e-6) // 1), int((y + 1e-6) // 1)
            right, bottom = int(-((-x - side + 1e-6) // 1)), int(-((-y - side + 1e-6) // 1))
            key = (threading.get_ident(), bottom - top, right - left)
            window = windows.get(key)
            if window is None:
                window = windows[key] = np.empty((bottom - top, right - left, 3), np.uint8)
            inside = left >= 0 and top >= 0 and right <= columns * tile_w and bottom <= rows * tile_h
            if not inside:
                window[:] = WHITE
            base = int(plan.strips[i]) * rows
            for row in range(max(0, top // tile_h), min(rows, -(-bottom // tile_h))):
                for column in range(max(0, left // tile_w), min(columns, -(-right // tile_w))):
                    piece = cache[(base + row) * columns + column]
                    put(window, piece, column * tile_w - left, row * tile_h - top)
            resample(window, round(x - left, 6), round(y - top, 6), round(side, 6), round(side, 6), out[k], exact=exact)

    def forget(keys: list[int]) -> None:
        for key in keys:
            spare.append(cache.pop(key))

    def tasks() -> Iterator[_Made]:
        decoding: list[Future] = []
        for part, new, done in zip(plan.batches, plan.new, plan.done, strict=True):
            chunks = [new[i : i + DECODE_CHUNK].tolist() for i in range(0, len(new), DECODE_CHUNK)]
            # the pool takes tasks in order, so whatever a cut waits for is running or done: no deadlock
            decoding = [job for job in decoding if not job.done() or job.exception()]
            decoding += [pool.submit(decode, chunk) for chunk in chunks]
            tiles = buffers.take(len(part))
            jobs = [
                pool.submit(cut, decoding, part[i : i + TILE_CHUNK].tolist(), tiles[i : i + TILE_CHUNK])
                for i in range(0, len(part), TILE_CHUNK)
            ]
            yield _Made(part, tiles, jobs, partial(forget, done.tolist()))

    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from _ahead(tasks())
