"""Opening slides: OpenSlide for every format it knows, plain images otherwise."""

from __future__ import annotations

import logging
import math
import struct
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import openslide
import tifffile
from PIL import Image, UnidentifiedImageError

from mirror.io.errors import InputError

from .resample import resample

WHITE = 255
log = logging.getLogger("mirror")
LEVEL_TOLERANCE = 1.03  # a level up to 3 % coarser than asked for is still used
MAX_PLAIN_PIXELS = 1_000_000_000  # a plain image is held in memory whole
# Pillow's own limit is one for the whole process, warns first and refuses only at twice its value. Set
# once, not for each file: slides are opened by several threads. `_open_plain` compares sizes itself.
Image.MAX_IMAGE_PIXELS = None
STRIP_BYTES = 48 << 20  # overview strips are at most this large
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GIT_LFS = b"version https://git-lfs"


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
        Level-0 pixels a pixel, for each level; the first is 1.
    properties : dict of str to str
        As OpenSlide names them.
    """

    path: Path
    width: int
    height: int
    bounds: tuple[int, int, int, int]
    downsamples: tuple[float, ...]
    properties: dict[str, str]

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
        """Return the coarsest level that is not coarser than ``scale`` level-0 pixels a pixel."""
        usable = [i for i, d in enumerate(self.downsamples) if d <= scale * LEVEL_TOLERANCE]
        return max(usable, key=lambda i: self.downsamples[i], default=0)

    def reduced(self, level: int) -> bool:
        """Whether a level is shrunk while decoding, so that a fast second resampling loses nothing more."""
        return False

    def read_box(
        self, x: float, y: float, width: float, height: float, out: np.ndarray, level: int | None = None
    ) -> np.ndarray:
        """Read a box given in level-0 pixels, area-averaged into ``out`` (uint8, (H, W, 3), contiguous)."""
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
        for top in range(0, rows, step):
            bottom = min(top + step, rows)
            y0, y1 = y + height * top / rows, y + height * bottom / rows
            self.read_box(x, y0, width, y1 - y0, out[top:bottom], level)
        return out


class OpenSlideSlide(Slide):
    """A slide read by OpenSlide: every format it knows, and the truth for every faster path."""

    def __init__(self, path: Path, handle: openslide.OpenSlide) -> None:
        self.path, self._handle = path, handle
        self.width, self.height = handle.dimensions
        self.properties = dict(handle.properties)
        self.downsamples = (1.0, *handle.level_downsamples[1:])
        self.level_dimensions = handle.level_dimensions
        edges = ("x", "y", "width", "height")
        found = [self.properties.get(f"openslide.bounds-{edge}") for edge in edges]
        whole = (0, 0, self.width, self.height)
        self.bounds = whole if None in found else _clip(tuple(int(v) for v in found if v is not None), whole)

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


CONVERT = "convert it to a tiled JPEG TIFF (for example with vips tiffsave --tile --pyramid --compression jpeg)"
RECOPY = "the file is damaged or still being copied; fetch it again"


def open_slide(path: str | Path, backend: str = "auto", threads: int = 2) -> Slide:
    """Open a slide or a plain image.

    Parameters
    ----------
    path : path-like
        The file.
    backend : {"auto", "openslide"}
        ``auto`` decodes JPEG tiles directly where that gives OpenSlide's pixels.
    threads : int
        Decoding threads of one large read.

    Returns
    -------
    Slide

    Raises
    ------
    InputError
        When the file is missing, empty, a git-LFS pointer, damaged, or of no known format.
    """
    path = Path(path)
    check_file(path)
    try:
        handle = openslide.OpenSlide(str(path))
    except openslide.OpenSlideUnsupportedFormatError:
        return _open_plain(path)
    except openslide.OpenSlideError as error:
        remedy = CONVERT if "nsupported" in str(error) else RECOPY
        raise InputError(f"cannot be opened ({error})", file=path, remedy=remedy) from error
    if backend == "auto":
        from .fast_jpeg import JpegSlide, NotDirect  # it builds on this module

        try:
            return JpegSlide(path, handle, threads)
        except NotDirect as reason:
            log.debug("%s: read by OpenSlide: %s", path, reason)
        except InputError:
            handle.close()
            raise
    return OpenSlideSlide(path, handle)


def check_file(path: Path) -> None:
    """Refuse what is no slide before any library sees it."""
    if not path.exists():
        raise InputError("no such file", file=path, remedy="mend the path in the sample table")
    if path.is_dir():
        raise InputError("is a folder, not a slide", file=path, remedy="name the slide file in the sample table")
    with open(path, "rb") as handle:
        head = handle.read(len(GIT_LFS))
    if not head:
        raise InputError("is empty (zero bytes)", file=path, remedy=RECOPY)
    if head == GIT_LFS:
        raise InputError("is a git-LFS pointer, not the slide itself", file=path, remedy="run `git lfs pull`")


def check_extent(slide: Slide) -> None:
    """Refuse a TIFF whose tiles lie beyond the end of the file: its overview may still look whole.

    Hamamatsu's files, whose offsets wrap at 4 GB, are left to OpenSlide.

    Raises
    ------
    InputError
        When the file is truncated.
    """
    with open(slide.path, "rb") as handle:
        magic = handle.read(4)
    if magic not in TIFF_MAGIC or slide.properties.get("openslide.vendor") == "hamamatsu":
        return
    size = slide.path.stat().st_size
    try:
        with tifffile.TiffFile(slide.path) as tif:
            end = max(
                (o + n for page in tif.pages for o, n in zip(page.dataoffsets, page.databytecounts, strict=False))
            )
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, struct.error) as error:
        log.debug("%s: extent not checked: %s", slide.path, error)
        return
    if end > size:
        problem = f"is truncated: pixels up to byte {end:,} are announced, the file has {size:,}"
        raise InputError(problem, file=slide.path, remedy=RECOPY)


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
    alpha = rgba[..., 3]
    if alpha.min() < 255:
        share = alpha[..., None].astype(np.float32) / 255
        rgb = np.rint(rgb * share + WHITE * (1 - share)).astype(np.uint8)
    return rgb


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


def _clip(box: tuple[int, ...], whole: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Clip a bounds box to the slide; a senseless one counts as none."""
    x, y, width, height = box
    x0, y0, x1, y1 = max(0, x), max(0, y), min(whole[2], x + width), min(whole[3], y + height)
    return (x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else whole
