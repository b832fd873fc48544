"""Plain images (PNG, JPEG, single-picture TIFF) read as slides."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...core.errors import InputError
from ...core.memory import in_words
from .slide import CONVERT, RECOPY, WHITE, Slide, on_white
from .tiff import TO_8_BIT

log = logging.getLogger("mirror")


FORMATS = ("PNG", "JPEG", "TIFF")  # never by content alone: Pillow would start Ghostscript for an EPS
BYTES_PER_PIXEL = 10  # at the peak: Pillow's 4, the 3 that are kept, one strip on its way, the file itself
STRIP_ROWS_BYTES = 16 << 20
MAX_SCANS = 100  # of a progressive JPEG; each is decoded over the whole picture, and writers make about ten
PNG_MAGIC, JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


class PlainSlide(Slide):
    """A plain image held in memory: one level."""

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


def open_plain(path: Path, memory: int) -> PlainSlide:
    """Open a PNG, JPEG or TIFF with Pillow; pixels must be 8-bit.

    Parameters
    ----------
    path : Path
        The file.
    memory : int
        Bytes that it may take.

    Raises
    ------
    InputError
        For another format or sample type, a picture larger than ``memory`` allows, or a damaged one.
    """
    with open(path, "rb") as handle:
        head = handle.read(32)
    if head.startswith(PNG_MAGIC) and head[25:26] != b"\3" and head[24:25] != b"\x08":
        problem = f"has {head[24]}-bit pixels, not 8-bit unsigned integer"
        raise InputError(problem, file=path, remedy=TO_8_BIT)
    if head.startswith(JPEG_MAGIC):
        _check_scans(path)
    # Pillow's own limit is one for the whole process, warns first and refuses only at twice its value.
    Image.MAX_IMAGE_PIXELS = None  # sizes are compared below
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height * BYTES_PER_PIXEL > memory:
                need = in_words(image.width * image.height * BYTES_PER_PIXEL)
                problem = f"is too large for a plain image: {image.width:,} x {image.height:,} px need {need} of memory"
                problem += f", and a slide may take {in_words(memory)}"
                raise InputError(problem, file=path, remedy=f"{CONVERT}, or raise mem_mb of the rule")
            if image.mode in ("F", "I") or image.mode.startswith("I;16"):
                raise InputError(f"has {image.mode} pixels, not 8-bit unsigned integer", file=path, remedy=TO_8_BIT)
            kind, tags = image.format or "image", getattr(image, "tag_v2", {})
            alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            image.load()
            pixels = np.empty((image.height, image.width, 3), np.uint8)
            step = max(1, STRIP_ROWS_BYTES // (4 * image.width))
            for top in range(0, image.height, step):
                strip = image.crop((0, top, image.width, min(top + step, image.height)))
                if alpha:
                    pixels[top : top + step] = on_white(np.asarray(strip.convert("RGBA")))
                else:
                    pixels[top : top + step] = np.asarray(strip.convert("RGB"))
    except UnidentifiedImageError as error:
        remedy = "convert it to a tiled TIFF, or check that the file is whole"
        raise InputError("is of no format that OpenSlide, tifffile or Pillow (PNG, JPEG) reads here", file=path,
                         remedy=remedy) from error  # fmt: skip
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"cannot be read ({error})", file=path, remedy=RECOPY) from error
    properties = {"openslide.vendor": f"plain-{'jpeg' if kind == 'MPO' else kind.lower()}"}
    if kind == "TIFF":
        unit = {2: "inch", 3: "centimeter"}.get(tags.get(296, 2), "none")
        properties |= {"tiff.XResolution": str(tags.get(282, "")), "tiff.YResolution": str(tags.get(283, ""))}
        properties["tiff.ResolutionUnit"] = unit
    return PlainSlide(path, pixels, properties)


def _check_scans(path: Path) -> None:
    """Refuse a progressive JPEG of very many scans: a small file that would be decoded for hours."""
    scans, tail = 0, b""
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            block = tail + block
            scans += block.count(b"\xff\xda")  # compressed data escape 0xff, so that this is a marker
            if scans > MAX_SCANS:
                problem = f"is a progressive JPEG of more than {MAX_SCANS} scans, which would take hours to decode"
                raise InputError(problem, file=path, remedy=CONVERT)
            tail = block[-1:]
