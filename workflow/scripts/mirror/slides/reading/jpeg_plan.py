"""In which order a slide's tiles are read, so that JPEG tiles are decoded once and dropped early."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .jpeg import JpegSlide

CACHE_BYTES = 96 << 20  # decoded JPEG tiles kept for the next row of grid tiles


@dataclass(frozen=True)
class JpegPlan:
    """One thread's share of a slide, in steps of neighbouring grid tiles.

    Attributes
    ----------
    steps : list of ndarray
        For each step the rows of ``coords``, in reading order.
    keys : dict of int to ndarray of int64
        For each row of ``coords`` the JPEG tiles that it covers: ``row * columns + column``.
    done : list of ndarray of int64
        For each step the JPEG tiles used for the last time.
    """

    steps: list[np.ndarray]
    keys: dict[int, np.ndarray]
    done: list[np.ndarray]


def plan_reading(
    slide: JpegSlide, level: int, coords: np.ndarray, size: float, batch: int, workers: int
) -> list[JpegPlan]:
    """Share a slide's tiles among threads.

    Each thread reads one part of the slide from top to bottom by itself. Only the JPEG tiles on the
    border of two parts are decoded twice; nobody waits for anybody.

    Parameters
    ----------
    slide : JpegSlide
    level : int
        Virtual level to read.
    coords : ndarray of int, shape (n, 2)
        Level-0 pixels.
    size : float
        Side of a grid tile, level-0 pixels.
    batch : int
        Tiles of all threads' k-th steps together.
    workers : int
        Threads.

    Returns
    -------
    list of JpegPlan
        At most ``workers``.
    """
    if not len(coords):
        return []
    tile_w, tile_h, columns, rows = slide.layout(level)
    scale = slide.downsamples[level]
    first = np.floor(coords / scale / (tile_w, tile_h) + 1e-6).astype(np.int64)
    last = np.ceil((coords + size) / scale / (tile_w, tile_h) - 1e-6).astype(np.int64)
    first, last = np.maximum(first, 0), np.minimum(last, (columns, rows))
    # Wide slides are read in vertical strips: what waits for the next row of grid tiles stays bounded.
    bytes_a_column = tile_w * tile_h * 3 * (2 * size / scale / tile_h + 2)
    wide = max(4, int(CACHE_BYTES / workers / bytes_a_column)) * tile_w * scale
    strips = ((coords[:, 0] - coords[:, 0].min()) // max(wide, 2 * size)).astype(np.int64)
    order = np.lexsort((coords[:, 0], coords[:, 1], strips))
    shares = [len(part) for part in np.array_split(np.arange(batch), min(workers, batch))]
    batches = -(-len(order) // batch)
    plans, start = [], 0
    for share in shares:
        part = order[start : start + share * batches]
        start += share * batches
        if len(part):
            plans.append(_plan(part, share, first, last, columns))
    return plans


def _plan(part: np.ndarray, share: int, first: np.ndarray, last: np.ndarray, columns: int) -> JpegPlan:
    """One thread's plan: ``part`` in steps of ``share`` tiles."""
    keys = {}
    for i in part.tolist():
        down, across = np.arange(first[i, 1], last[i, 1]), np.arange(first[i, 0], last[i, 0])
        keys[i] = (down[:, None] * columns + across).ravel()
    flat = np.concatenate([keys[i] for i in part.tolist()])
    of_step = np.repeat(np.arange(len(part)) // share, [len(keys[i]) for i in part.tolist()])
    steps = [part[i : i + share] for i in range(0, len(part), share)]
    used, place = np.unique(flat[::-1], return_index=True)
    closes = of_step[::-1][place]
    order = np.argsort(closes, kind="stable")
    done = np.split(used[order], np.cumsum(np.bincount(closes, minlength=len(steps)))[:-1])
    return JpegPlan(steps, keys, done)
