"""The published recipe: Otsu on saturation at full resolution."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ..reading.slide import Slide
from .mask import TissueMask

# the published parameters, pixels at 20x
MEDIAN, CLOSE, ERODE = 7, 5, 10
FILL_HOLES_BELOW, DROP_OBJECTS_BELOW = 16_384, 8_192
BLOCK = 8  # the mask is kept as the share of each 8 x 8 block, or a large slide's would not fit in memory
HALO = 32  # rows read beyond a strip, more than the filters reach
STRIP_PIXELS = 12_000_000


def segment_published(slide: Slide, mpp: float, target_mpp: float) -> TissueMask:
    """Find tissue as published: Otsu on HSV saturation at full target resolution.

    Median blur of 7, global Otsu threshold, closing by 5, erosion by 10, holes below 16,384 px
    filled and objects below 8,192 px removed. The slide is streamed in strips, twice: first for
    the histogram, then for the mask. Filters are exact; the areas of holes and objects are
    counted over blocks of 8 x 8 px, so that the mask of a large slide fits in memory.

    Parameters
    ----------
    slide : Slide
    mpp, target_mpp : float
        Micrometres a pixel of the slide and of the recipe (0.5 is 20x).

    Returns
    -------
    TissueMask
        ``tissue`` is float32, the share of each block; no pen is looked for, as published.
    """
    scale = target_mpp / mpp
    histogram = np.zeros(256, np.int64)
    for saturation, own in _saturation_strips(slide, scale):
        histogram += np.bincount(saturation[own].ravel(), minlength=256)
    threshold = otsu(histogram)
    close, erode = np.ones((CLOSE, CLOSE), np.uint8), np.ones((ERODE, ERODE), np.uint8)
    blocks = []
    for saturation, own in _saturation_strips(slide, scale):
        coarse = cv2.morphologyEx((saturation > threshold).astype(np.uint8), cv2.MORPH_CLOSE, close)
        blocks.append(_block_shares(cv2.erode(coarse, erode)[own]))
    share = np.concatenate(blocks)
    empty = 1 - share
    holes = _areas((share < 0.5).astype(np.uint8), empty)
    share = np.where(_labels_below(holes, FILL_HOLES_BELOW), np.float32(1), share)
    objects = _areas((share > 0).astype(np.uint8), share)
    share = np.where(_labels_below(objects, DROP_OBJECTS_BELOW), np.float32(0), share)
    return TissueMask(share, np.zeros(share.shape, bool), target_mpp * BLOCK)


def otsu(histogram: np.ndarray) -> int:
    """Otsu's threshold (1979) of a 256-bin histogram: values above it are foreground."""
    weight = histogram / max(1, histogram.sum())
    below, mean = np.cumsum(weight), np.cumsum(weight * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * below - mean) ** 2 / (below * (1 - below))
    return int(np.nanargmax(np.where(np.isfinite(between), between, -1)))


def _saturation_strips(slide: Slide, scale: float) -> Iterator[tuple[np.ndarray, slice]]:
    """Yield blurred saturation in strips with a halo, and which rows are the strip's own."""
    x, y, width, height = slide.bounds
    rows, cols = max(BLOCK, round(height / scale)), max(BLOCK, round(width / scale))
    rows, cols = rows - rows % BLOCK, cols - cols % BLOCK
    step = max(BLOCK, STRIP_PIXELS // cols // BLOCK * BLOCK)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        first, last = max(0, start - HALO), min(rows, stop + HALO)
        strip = np.empty((last - first, cols, 3), np.uint8)
        slide.read_box(x, y + first * scale, cols * scale, (last - first) * scale, strip)
        saturation = cv2.medianBlur(cv2.cvtColor(strip, cv2.COLOR_RGB2HSV)[..., 1], MEDIAN)
        yield saturation, slice(start - first, stop - first)


def _block_shares(mask: np.ndarray) -> np.ndarray:
    """Share of each block that is set; float32."""
    rows, cols = mask.shape[0] // BLOCK, mask.shape[1] // BLOCK
    return mask.reshape(rows, BLOCK, cols, BLOCK).mean(axis=(1, 3), dtype=np.float32)


def _areas(mask: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label components; return the labels and their areas in full-resolution pixels."""
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    areas = np.bincount(labels.ravel(), weights=weight.ravel(), minlength=count) * BLOCK**2
    areas[0] = np.inf
    return labels, areas


def _labels_below(found: tuple[np.ndarray, np.ndarray], pixels: int) -> np.ndarray:
    """Where a component is smaller than ``pixels``."""
    labels, areas = found
    return (areas < pixels)[labels]
