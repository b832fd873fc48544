"""Plain images read as slides."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from ...core.errors import InputError
from .slide import CONVERT, RECOPY, WHITE, Slide, on_white

log = logging.getLogger("mirror")


# Pillow's own limit is one for the whole process, warns first and refuses only at twice its value. Set
# once, not for each file: slides are opened by several threads. `_open_plain` compares sizes itself.
Image.MAX_IMAGE_PIXELS = None
MAX_PLAIN_PIXELS = 1_000_000_000  # a plain image is held in memory whole


class PlainSlide(Slide):
    """A plain image (PNG, JPEG, TIFF) held in memory: one level."""

    def __init__(self, path: Path, pixels: np.ndarray, properties: dict[str, str]) -> None:
        self.path, self._pixels, self.properties = path, pixels, properties
        self.height, self.width = pixels.shape[:2]
        self.bounds = (0, 0, self.width, self.height)
        self.downsamples = (1.0,)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        out = np.full((height, width, 3), WHITE, np.uint8)
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, self.width), min(y + height, self.height)
        if x1 > x0 and y1 > y0:
            out[y0 - y : y1 - y, x0 - x : x1 - x] = self._pixels[y0:y1, x0:x1]
        return out

    def close(self) -> None:
        self._pixels = np.empty((0, 0, 3), np.uint8)


def _open_plain(path: Path) -> PlainSlide:
    """Open a plain image with Pillow."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PLAIN_PIXELS:
                size = f"{image.width:,} x {image.height:,} px"
                problem = f"is too large for a plain image ({size}, at most {MAX_PLAIN_PIXELS:,} pixels)"
                raise InputError(problem, file=path, remedy=CONVERT)
            if image.mode in ("F", "I") or image.mode.startswith("I;16"):
                raise InputError(
                    f"has {image.mode} pixels, not 8-bit colour", file=path, remedy="convert it to 8-bit RGB"
                )
            kind, tags = image.format, getattr(image, "tag_v2", {})
            alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            pixels = on_white(np.asarray(image.convert("RGBA"))) if alpha else np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:
        unread = _tiff_pixels(path)
        if unread:
            raise InputError(unread, file=path, remedy="convert it to 8-bit RGB") from error
        remedy = "convert it to a tiled TIFF, or check that the file is whole"
        raise InputError("is of no format that OpenSlide or Pillow knows", file=path, remedy=remedy) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"cannot be read ({error})", file=path, remedy=RECOPY) from error
    properties = {"openslide.vendor": f"plain-{(kind or 'image').lower()}"}
    if kind == "TIFF":
        unit = {2: "inch", 3: "centimeter"}.get(tags.get(296, 2), "none")
        properties |= {"tiff.XResolution": str(tags.get(282, "")), "tiff.YResolution": str(tags.get(283, ""))}
        properties["tiff.ResolutionUnit"] = unit
    return PlainSlide(path, pixels, properties)


def _tiff_pixels(path: Path) -> str:
    """Say what pixels a TIFF has that nothing here reads; empty where it is no TIFF."""
    try:
        with tifffile.TiffFile(path) as tif:
            page = tif.pages.first
            kind, channels = page.dtype, page.samplesperpixel
            packing = getattr(page.compression, "name", str(page.compression)).lower()
    except Exception:  # whatever tifffile makes of a file that is none, the answer is the same
        return ""
    if kind is None:
        return ""
    if kind != np.uint8:
        return f"is a TIFF of {kind} pixels, not 8-bit colour"
    return f"is a TIFF of {channels} channels, compression {packing}, that neither OpenSlide nor Pillow reads"
