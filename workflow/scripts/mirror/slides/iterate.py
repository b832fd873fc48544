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
from .taps import Cutter, takes

AHEAD = 2  # batches in the making while the caller works on one
CACHE_BYTES = 96 << 20  # decoded JPEG tiles kept for neighbouring grid tiles
DECODE_CHUNK, TILE_CHUNK = 16, 8  # JPEG tiles, grid tiles a task

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

    def most_held(self) -> int:
        """Decoded tiles held at most, ``AHEAD`` batches being in the making beside the one handed out."""
        made, dropped = np.cumsum([len(k) for k in self.new]), np.cumsum([len(k) for k in self.done])
        return int(max(made[b] - (dropped[b - AHEAD - 1] if b > AHEAD else 0) for b in range(len(made))))

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
    if not len(coords):
        return
    tile_w, tile_h, columns, rows = slide.layout(level)
    scale, exact = slide.downsamples[level], not slide.reduced(level)
    # decoded tiles; the first is white and stands for whatever lies beyond the slide
    decoded = np.empty((plan.most_held() + 1, tile_h, tile_w, 3), np.uint8)
    decoded[0] = WHITE
    flat = decoded.reshape(len(decoded), tile_h, tile_w * 3)
    free = list(range(len(decoded) - 1, 0, -1))
    place = np.zeros((int(plan.strips.max()) + 1) * rows * columns + 1, np.int64)  # of each key in `decoded`
    buffers = _Buffers((max(map(len, plan.batches)), out_px, out_px, 3))
    local = threading.local()
    side = size / scale
    starts = coords / scale
    whole = not exact and takes(side, out_px) and bool((starts == np.floor(starts)).all())

    def decode(keys: list[int]) -> None:
        for key in keys:
            row, column = divmod(key, columns)
            at = free.pop()
            slide.decode(level, column, row % rows, decoded[at])
            place[key] = at

    def places(strip: int, row: int, column: int, down: int, across: int) -> np.ndarray:
        """Where the tiles of a rectangle of the JPEG grid are."""
        if row >= 0 and column >= 0 and row + down <= rows and column + across <= columns:
            first = (strip * rows + row) * columns
            return place[first : first + down * columns].reshape(down, columns)[:, column : column + across]
        y, x = np.arange(row, row + down)[:, None], np.arange(column, column + across)
        inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
        return place[np.where(inside, (strip * rows + y) * columns + x, -1)]

    def cut_whole(i: int, out: np.ndarray) -> None:
        cutter = getattr(local, "cutter", None)
        if cutter is None:
            cutter = local.cutter = Cutter(int(side), out_px, tile_w)
        (column, left), (row, top) = divmod(int(starts[i, 0]), tile_w), divmod(int(starts[i, 1]), tile_h)
        down, across = -(-(top + cutter.side) // tile_h), -(-(left + cutter.side) // tile_w)
        cutter.cut(flat, places(int(plan.strips[i]), row, column, down, across), left, top, out)

    def cut_any(i: int, out: np.ndarray) -> None:
        x, y = float(starts[i, 0]), float(starts[i, 1])
        left, top = int((x + 1e-6) // 1), int((y + 1e-6) // 1)
        right, bottom = int(-((-x - side + 1e-6) // 1)), int(-((-y - side + 1e-6) // 1))
        window = getattr(local, "window", None)
        if window is None or window.shape[:2] != (bottom - top, right - left):
            window = local.window = np.empty((bottom - top, right - left, 3), np.uint8)
        column, row = left // tile_w, top // tile_h
        needed = places(int(plan.strips[i]), row, column, -(-bottom // tile_h) - row, -(-right // tile_w) - column)
        for (dy, dx), at in np.ndenumerate(needed):
            put(window, decoded[at], (column + dx) * tile_w - left, (row + dy) * tile_h - top)
        resample(window, round(x - left, 6), round(y - top, 6), round(side, 6), round(side, 6), out, exact=exact)

    def cut(wait: list[Future], part: list[int], out: np.ndarray) -> None:
        for job in wait:
            job.result()
        for k, i in enumerate(part):
            (cut_whole if whole else cut_any)(i, out[k])

    def forget(keys: np.ndarray) -> None:
        free.extend(place[keys].tolist())

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
            yield _Made(part, tiles, jobs, partial(forget, done))

    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from _ahead(tasks())
