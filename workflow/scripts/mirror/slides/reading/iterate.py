"""Streaming a slide's tiles as batches of pixels, in threads and in flat memory."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .jpeg import JpegSlide
from .jpeg_cutter import TileCutter
from .jpeg_plan import plan_reading
from .open import open_slide
from .slide import Slide

AHEAD_TILES = 48  # in the making, at least, while the caller works on a batch

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
        Tiles per batch; the last ones may be smaller.
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
            plans = plan_reading(source, level, coords, size_level0, batch, max(1, workers))
            cutters = [TileCutter(source, level, plan, coords, size_level0) for plan in plans]
            yield from _direct(cutters, out_px, batch)
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
        yield from _ahead(tasks(), batch)


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


def _ahead(making: Iterator[_Made], batch: int) -> Iterator[Batch]:
    """Keep a few batches in the making and hand them out in order; the first error is raised."""
    queue: deque[_Made] = deque()
    ahead = -(-AHEAD_TILES // batch)

    def finish() -> Batch:
        item = queue[0]
        for job in item.jobs:
            job.result()
        queue.popleft()
        return item.indices, item.tiles

    try:
        for item in making:
            queue.append(item)
            if len(queue) > ahead:
                yield finish()
        while queue:
            yield finish()
    finally:
        for item in queue:
            for job in item.jobs:
                job.cancel()


def _direct(cutters: list[TileCutter], out_px: int, batch: int) -> Iterator[Batch]:
    """A thread for each cutter; a batch is one step of each."""
    buffers = _Buffers((batch, out_px, out_px, 3))

    def tasks() -> Iterator[_Made]:
        for step in range(max((len(cutter.plan.steps) for cutter in cutters), default=0)):
            working = [(k, cutter) for k, cutter in enumerate(cutters) if step < len(cutter.plan.steps)]
            indices = np.concatenate([cutter.plan.steps[step] for _, cutter in working])
            tiles, jobs, start = buffers.take(len(indices)), [], 0
            for k, cutter in working:
                stop = start + len(cutter.plan.steps[step])
                jobs.append(threads[k].submit(cutter.read, step, tiles[start:stop]))
                start = stop
            yield _Made(indices, tiles, jobs)

    with ExitStack() as stack:
        threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in cutters]
        yield from _ahead(tasks(), batch)
