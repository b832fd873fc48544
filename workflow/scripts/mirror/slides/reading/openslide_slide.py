"""Slides read by OpenSlide."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openslide

from ...core.errors import InputError
from .slide import RECOPY, Slide, _clip, on_white

log = logging.getLogger("mirror")


class OpenSlideSlide(Slide):
    """A slide read by OpenSlide: every format it knows, and the truth for every faster path."""

    def __init__(self, path: Path, handle: openslide.OpenSlide) -> None:
        self.path, self._handle = path, handle
        self.width, self.height = handle.dimensions
        self.properties = dict(handle.properties)
        self.downsamples = (1.0, *handle.level_downsamples[1:])
        self.level_dimensions = handle.level_dimensions
        self.bounds = bounds_of(self.properties, self.width, self.height)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        scale = self.downsamples[level]
        return self._region(round(x * scale), round(y * scale), level, width, height)

    def close(self) -> None:
        self._handle.close()

    def _region(self, x: int, y: int, level: int, width: int, height: int) -> np.ndarray:
        """OpenSlide's ``read_region`` (x, y in level-0 pixels) laid on white."""
        try:
            image = self._handle.read_region((x, y), level, (width, height))
        except openslide.OpenSlideError as error:
            raise InputError(
                f"opens, but its pixels cannot be read ({error})", file=self.path, remedy=RECOPY
            ) from error
        return on_white(np.asarray(image))


def bounds_of(properties: Mapping[str, str], width: int, height: int) -> tuple[int, int, int, int]:
    """Return the scanned region that OpenSlide's properties state, the whole slide where they state none."""
    found = [properties.get(f"openslide.bounds-{edge}") for edge in ("x", "y", "width", "height")]
    whole = (0, 0, width, height)
    return whole if None in found else _clip(tuple(int(v) for v in found if v is not None), whole)
