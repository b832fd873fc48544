"""Which JPEG tiles of a slide are decoded when, so that each is decoded once and dropped early."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fast_jpeg import JpegSlide

CACHE_BYTES = 96 << 20  # decoded JPEG tiles kept for the next row of grid tiles
STEP_TILES = 16  # what is in work at a time: small enough to stay in the processor's cache


@dataclass(frozen=True)
class JpegPlan:
    """The order of reading, in steps of a few neighbouring grid tiles.

    Attributes
    ----------
    rows : list of ndarray
        For each step the rows of ``coords``, in reading order: strip by strip, then row by row.
    batches : list of range
        For each batch that is handed out, its steps.
    strips : ndarray of int64, shape (n,)
        The strip of each row of ``coords``.
    new, done : list of ndarray
        For each step the keys to decode and the keys used for the last time. A key is
        ``(strip * rows + row) * columns + column``.
    """

    rows: list[np.ndarray]
    batches: list[range]
    strips: np.ndarray
    new: list[np.ndarray]
    done: list[np.ndarray]

    @classmethod
    def of(cls, slide: JpegSlide, level: int, coords: np.ndarray, size: float, batch: int) -> JpegPlan:
        """Plan the reading of ``coords`` (n, 2), tiles of ``size`` level-0 pixels, in batches."""
        if not len(coords):
            return cls([], [], np.empty(0, np.int64), [], [])
        tile_w, tile_h, columns, rows = slide.layout(level)
        scale = slide.downsamples[level]
        first = np.floor(coords / scale / (tile_w, tile_h) + 1e-6).astype(np.int64)
        last = np.ceil((coords + size) / scale / (tile_w, tile_h) - 1e-6).astype(np.int64)
        bytes_a_column = tile_w * tile_h * 3 * (2 * size / scale / tile_h + 2)
        wide = max(4, int(CACHE_BYTES / bytes_a_column)) * tile_w * scale
        strips = ((coords[:, 0] - coords[:, 0].min()) // max(wide, 2 * size)).astype(np.int64)
        order = np.lexsort((coords[:, 0], coords[:, 1], strips))
        steps: list[np.ndarray] = []
        batches: list[range] = []
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            before = len(steps)
            steps += [part[i : i + STEP_TILES] for i in range(0, len(part), STEP_TILES)]
            batches.append(range(before, len(steps)))
        needed = []
        for part in steps:
            keys = {
                (int(strips[i]) * rows + row) * columns + column
                for i in part
                for row in range(max(0, first[i, 1]), min(rows, last[i, 1]))
                for column in range(max(0, first[i, 0]), min(columns, last[i, 0]))
            }
            needed.append(np.array(sorted(keys), np.int64))
        flat = np.concatenate(needed)
        of_step = np.repeat(np.arange(len(needed)), [len(k) for k in needed])
        every, opens = np.unique(flat, return_index=True)
        closes = len(flat) - 1 - np.unique(flat[::-1], return_index=True)[1]
        opens, closes = of_step[opens], of_step[closes]
        return cls(steps, batches, strips, _grouped(every, opens, len(steps)), _grouped(every, closes, len(steps)))


def _grouped(keys: np.ndarray, of: np.ndarray, groups: int) -> list[np.ndarray]:
    """The keys of each group, sorted."""
    order = np.argsort(of, kind="stable")
    return np.split(keys[order], np.cumsum(np.bincount(of, minlength=groups))[:-1])
