"""A slide as rectangles of 8-bit RGB pixels, whatever its format."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from ...core.errors import InputError
from .resample import resample

WHITE = 255
log = logging.getLogger("mirror")
LEVEL_TOLERANCE = 1.03  # a level up to 3 % coarser than asked for is still used
STRIP_BYTES = 48 << 20  # overview strips are at most this large
TOO_LONG = "reading it took longer than the time limit of a slide"
SLOW = "raise slides.max_minutes if its disk is slow, or convert it to a pyramidal TIFF"


class Slide(ABC):
    """A slide as rectangles of 8-bit RGB pixels; use as a context manager.

    Attributes
    ----------
    path : Path
        The file.
    width, height : int
        Level-0 pixels.
    bounds : tuple of int
        x, y, width, height of the scanned region, level-0 pixels (the whole slide where the
        format knows no bounds).
    downsamples : tuple of float
        Level-0 pixels per pixel, for each level; the first is 1.
    properties : dict of str to str
        As OpenSlide names them.
    notes : tuple of str
        What is odd about the file; for the status table.
    deadline : float or None
        Time (``time.monotonic``) at which reading an area gives up.
    """

    path: Path
    width: int
    height: int
    bounds: tuple[int, int, int, int]
    downsamples: tuple[float, ...]
    properties: dict[str, str]
    notes: tuple[str, ...] = ()
    deadline: float | None = None

    @property
    def scanned_size(self) -> tuple[int, int]:
        """Width and height that must fit on the glass; a MIRAX canvas is larger, a sparse TIFF's bounds are smaller."""
        if self.properties.get("openslide.vendor") == "mirax":
            return self.bounds[2:]
        return self.width, self.height

    @abstractmethod
    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Read a rectangle of one level.

        Parameters
        ----------
        level : int
            Pyramid level.
        x, y, width, height : int
            The rectangle in pixels **of that level**. What lies beyond the slide is white, and
            so is what the format leaves transparent.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)

        Raises
        ------
        InputError
            When the pixels cannot be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def best_level(self, scale: float) -> int:
        """Return the coarsest level that is not coarser than ``scale`` level-0 pixels per pixel."""
        usable = [i for i, d in enumerate(self.downsamples) if d <= scale * LEVEL_TOLERANCE]
        return max(usable, key=lambda i: self.downsamples[i], default=0)

    def reduced(self, level: int) -> bool:
        """Whether a level is shrunk while decoding, so that a fast second resampling loses nothing more."""
        return False

    def read_box(
        self, x: float, y: float, width: float, height: float, out: np.ndarray, level: int | None = None
    ) -> np.ndarray:
        """Read a box given in level-0 pixels, area-averaged into ``out`` (uint8, (H, W, 3), contiguous)."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise InputError(f"was given up: {TOO_LONG}", file=self.path, remedy=SLOW)
        if level is None:
            level = self.best_level(min(width / out.shape[1], height / out.shape[0]))
        scale = self.downsamples[level]
        left, top = math.floor(x / scale + 1e-6), math.floor(y / scale + 1e-6)
        right, bottom = math.ceil((x + width) / scale - 1e-6), math.ceil((y + height) / scale - 1e-6)
        window = self.read(level, left, top, max(1, right - left), max(1, bottom - top))
        box_x, box_y = round(x / scale - left, 6), round(y / scale - top, 6)
        box_w, box_h = round(width / scale, 6), round(height / scale, 6)
        return resample(window, box_x, box_y, box_w, box_h, out, exact=not self.reduced(level))

    def overview(self, scale: float) -> np.ndarray:
        """Read the scanned region (``bounds``) shrunk by ``scale``, in strips of bounded memory.

        Returns
        -------
        ndarray of uint8, shape (round(height / scale), round(width / scale), 3)
        """
        x, y, width, height = self.bounds
        rows, cols = max(1, round(height / scale)), max(1, round(width / scale))
        level = self.best_level(min(width / cols, height / rows))
        per_row = width * height / rows / self.downsamples[level] ** 2 * 4
        step = max(1, min(rows, int(STRIP_BYTES / max(per_row, 1))))
        out = np.empty((rows, cols, 3), np.uint8)
        wide = cols if per_row <= 4 * STRIP_BYTES else max(1, int(cols * 4 * STRIP_BYTES / per_row))
        for top in range(0, rows, step):
            bottom = min(top + step, rows)
            y0, y1 = y + height * top / rows, y + height * bottom / rows
            if wide == cols:
                self.read_box(x, y0, width, y1 - y0, out[top:bottom], level)
                continue
            for left in range(0, cols, wide):  # one row of a huge claimed area would not fit
                right = min(left + wide, cols)
                part = np.empty((bottom - top, right - left, 3), np.uint8)
                self.read_box(x + width * left / cols, y0, width * (right - left) / cols, y1 - y0, part, level)
                out[top:bottom, left:right] = part
        return out


CONVERT = "convert it to a tiled JPEG TIFF (for example with vips tiffsave --tile --pyramid --compression jpeg)"
RECOPY = "the file is damaged or still being copied; fetch it again"


def on_white(rgba: np.ndarray) -> np.ndarray:
    """Lay straight-alpha RGBA pixels on white.

    Parameters
    ----------
    rgba : ndarray of uint8, shape (h, w, 4)

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
    """
    rgb = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
    alpha = cv2.extractChannel(rgba, 3)
    if alpha.min() == 255:
        return rgb
    if (alpha - np.uint8(1)).min() >= 254:  # all or nothing, as where a scanner stored no tile
        return cv2.bitwise_or(rgb, cv2.cvtColor(cv2.bitwise_not(alpha), cv2.COLOR_GRAY2RGB))
    share = alpha[..., None].astype(np.float32) / 255
    rgb = np.rint(rgb * share + WHITE * (1 - share)).astype(np.uint8)
    return rgb


def _clip(box: tuple[int, ...], whole: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Clip a bounds box to the slide; a senseless one counts as none."""
    x, y, width, height = box
    x0, y0, x1, y1 = max(0, x), max(0, y), min(whole[2], x + width), min(whole[3], y + height)
    return (x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else whole
