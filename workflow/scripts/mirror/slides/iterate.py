"""Streaming a slide's tiles as batches of pixels."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from .reader import Slide, open_slide


def iterate_tiles(
    slide: str | Path | Slide,
    coords: np.ndarray,
    size_level0: float,
    out_px: int,
    workers: int = 2,
    batch: int = 64,
    backend: str = "auto",
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read tiles in batches, in threads, in flat memory.

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
        RGB, owned by the caller.

    Raises
    ------
    InputError
        When the slide cannot be opened or read.
    """
    own = not isinstance(slide, Slide)
    source = open_slide(slide) if own else slide
    try:
        yield from _threaded(source, np.asarray(coords).reshape(-1, 2), size_level0, out_px, workers, batch)
    finally:
        if own:
            source.close()


def _threaded(
    slide: Slide, coords: np.ndarray, size: float, out_px: int, workers: int, batch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Plain reading, one tile a task, two batches ahead of the caller."""

    def read(x: int, y: int, out: np.ndarray) -> None:
        slide.read_box(x, y, size, size, out)

    ahead: deque[tuple[np.ndarray, np.ndarray, list[Future[None]]]] = deque()
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            for start in range(0, len(coords), batch):
                indices = np.arange(start, min(start + batch, len(coords)))
                tiles = np.empty((len(indices), out_px, out_px, 3), np.uint8)
                jobs = [pool.submit(read, *map(int, coords[i]), tiles[k]) for k, i in enumerate(indices)]
                ahead.append((indices, tiles, jobs))
                if len(ahead) > 2:
                    yield _finish(ahead.popleft())
            while ahead:
                yield _finish(ahead.popleft())
        finally:
            for _, _, jobs in ahead:
                for job in jobs:
                    job.cancel()


def _finish(item: tuple[np.ndarray, np.ndarray, list[Future[None]]]) -> tuple[np.ndarray, np.ndarray]:
    """Wait for a batch; the first reading error is raised."""
    indices, tiles, jobs = item
    for job in jobs:
        job.result()
    return indices, tiles
