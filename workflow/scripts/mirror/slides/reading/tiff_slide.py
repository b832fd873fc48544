"""TIFF slides that OpenSlide does not read, or not rightly, decoded by tifffile segment by segment.

OME-TIFF with its levels in SubIFDs, a fourth channel that is no transparency, a slide that is not the
file's first picture, pictures in strips. Memory is bounded by a cache of decoded segments.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from ...core.errors import InputError
from .jpeg_header import jpeg2000_size, jpeg_size
from .slide import CONVERT, RECOPY, WHITE, Slide, on_white
from .tiff import Picture, TiffContent

log = logging.getLogger("mirror")
CACHE_BYTES = 96 << 20
# Codecs whose output is bounded by the segment's size, or whose header is checked against it before decoding.
NONE, LZW, JPEG, DEFLATE, DEFLATE_OLD, PACKBITS, ZSTD = 1, 5, 7, 8, 32946, 32773, 50000
JPEG_2000 = (33004, 33005, 34712)  # Aperio's 33003 (YCbCr) is left to OpenSlide
LOSSLESS = (NONE, LZW, DEFLATE, DEFLATE_OLD, PACKBITS, ZSTD)
READ = (*LOSSLESS, JPEG, *JPEG_2000)
BYTES_PER_PIXEL = 14  # of a segment while it is decoded: compressed, decoded, as RGB, with room for a float copy
SAME_PATCH = 48.0  # grey levels by which a patch of a level may differ from the level above
PATCH, PATCHES = 64, 3


class NotRead(Exception):
    """Why a TIFF is left to another reader."""


@dataclass
class _Level:
    """One picture with what is needed to decode its segments."""

    picture: Picture
    page: tifffile.TiffPage
    size: tuple[int, int]  # of a segment: width, height
    columns: int
    rows: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    tables: bytes | None
    palette: np.ndarray | None
    planes: int = 1
    lock: threading.Lock = field(default_factory=threading.Lock)


class TiffSlide(Slide):
    """A TIFF as a pyramid.

    Parameters
    ----------
    content : TiffContent
        What `inspect_tiff` found.
    memory : int
        Bytes that decoding one segment may take.

    Raises
    ------
    NotRead
        For a compression or colour space that is left to another reader.
    InputError
        When a segment is too large for ``memory``, or the structure is damaged.
    """

    def __init__(self, content: TiffContent, memory: int) -> None:
        self.path, main = content.path, content.main
        self.width, self.height = main.width, main.height
        self.bounds = (0, 0, self.width, self.height)
        self.properties = dict(content.properties)
        self.properties["openslide.vendor"] = "ome-tiff" if content.ome else "tiff"
        if content.ome is not None:
            for axis, value in (("x", content.ome.mpp_x), ("y", content.ome.mpp_y)):
                if value is not None:
                    self.properties[f"openslide.mpp-{axis}"] = repr(value)
        for picture in content.levels:
            if picture.compression not in READ:
                raise NotRead(f"compression {_name(picture.compression)}")
            subsampled = picture.photometric == 6 and picture.compression not in (JPEG, *JPEG_2000)
            if picture.photometric not in (0, 1, 2, 3, 6) or subsampled:
                raise NotRead(f"colour space {picture.photometric}")
        self._cache: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._cached, self._lock = 0, threading.Lock()
        self._file = os.open(self.path, os.O_RDONLY)
        try:
            self._tif = tifffile.TiffFile(self.path)
            self._levels = [_level(self._tif, picture, self.path) for picture in content.levels]
            for level in self._levels:
                need = level.size[0] * level.size[1] * BYTES_PER_PIXEL
                if need > memory:
                    problem = f"{level.picture.name} is stored in pieces of {level.size[0]:,} x {level.size[1]:,} px"
                    problem += f", which need {need / 1e9:.1f} GB of the {memory / 1e9:.1f} GB that a slide may take"
                    raise InputError(problem, file=self.path, remedy=CONVERT)
        except InputError:
            os.close(self._file)
            raise
        except (tifffile.TiffFileError, ValueError, KeyError, IndexError, TypeError, struct.error) as error:
            os.close(self._file)
            raise InputError(f"cannot be read ({error})", file=self.path, remedy=RECOPY) from error
        self._drop_false_levels()
        self.downsamples = tuple(
            (self.width / level.picture.width + self.height / level.picture.height) / 2 for level in self._levels
        )

    def read_box(
        self, x: float, y: float, width: float, height: float, out: np.ndarray, level: int | None = None
    ) -> np.ndarray:
        if level is None:
            level = self.best_level(min(width / out.shape[1], height / out.shape[0]))
        of, scale = self._levels[level], self.downsamples[level]
        rows = range(max(0, int(y / scale) // of.size[1]), min(of.rows, int((y + height) / scale) // of.size[1] + 1))
        first, last = max(0, int(x / scale) // of.size[0]), min(of.columns, int((x + width) / scale) // of.size[0] + 1)
        if not any(of.counts[row * of.columns + i] for row in rows for i in range(first, last)):
            super().read_box(x, y, 1, 1, out[:1, :1], level)  # for its time limit
            out[:] = WHITE  # nothing is stored there: a large sparse file need not be resampled
            return out
        return super().read_box(x, y, width, height, out, level)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        of = self._levels[level]
        out = np.full((height, width, 3), WHITE, np.uint8)
        wide, high = of.size
        for row in range(max(0, y // high), min(of.rows, -(-(y + height) // high))):
            for column in range(max(0, x // wide), min(of.columns, -(-(x + width) // wide))):
                piece = self._segment(level, row * of.columns + column)
                if piece is None:
                    continue
                left, top = column * wide - x, row * high - y
                x0, y0 = max(left, 0), max(top, 0)
                x1, y1 = min(left + piece.shape[1], width), min(top + piece.shape[0], height)
                if x1 > x0 and y1 > y0:
                    out[y0:y1, x0:x1] = piece[y0 - top : y1 - top, x0 - left : x1 - left]
        return out

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._tif.close()
            self._file = -1
        self._cache.clear()

    def _segment(self, level: int, number: int) -> np.ndarray | None:
        """One tile or strip as RGB, clipped to the picture; None where the file stores nothing (white)."""
        key = (level, number)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        of = self._levels[level]
        planes = [self._decode(of, number + plane * of.columns * of.rows) for plane in range(of.planes)]
        if any(plane is None for plane in planes):
            return None
        raw = planes[0] if of.planes == 1 else np.concatenate(planes, axis=-1)  # type: ignore[arg-type]
        row, column = divmod(number, of.columns)
        high = min(raw.shape[0], of.picture.height - row * of.size[1])  # type: ignore[union-attr]
        wide = min(raw.shape[1], of.picture.width - column * of.size[0])  # type: ignore[union-attr]
        pixels = to_rgb(raw[:high, :wide], of.picture, of.palette)  # type: ignore[index]
        with self._lock:
            if key not in self._cache:
                self._cache[key] = pixels
                self._cached += pixels.nbytes
            while self._cached > CACHE_BYTES and len(self._cache) > 1:
                self._cached -= self._cache.popitem(last=False)[1].nbytes
        return pixels

    def _decode(self, of: _Level, index: int) -> np.ndarray | None:
        """Decoded samples of one segment, (height, width, samples)."""
        if not of.counts[index] or not of.offsets[index]:
            return None
        data = os.pread(self._file, of.counts[index], of.offsets[index])
        place: dict[str, Any] = {"file": self.path, "remedy": RECOPY}
        try:
            if len(data) < of.counts[index]:
                raise ValueError("the file ends before it")
            claimed = None
            if of.picture.compression == JPEG:
                claimed = jpeg_size(data)
            elif of.picture.compression in JPEG_2000:
                claimed = jpeg2000_size(data)
            if claimed is not None and (claimed[0] > of.size[0] or claimed[1] > of.size[1]):
                raise ValueError(
                    f"it claims {claimed[0]:,} x {claimed[1]:,} px in a piece of {of.size[0]} x {of.size[1]}"
                )
            pixels = of.page.decode(data, index, jpegtables=of.tables)[0]
        except (ValueError, RuntimeError, TypeError, NotImplementedError, struct.error) as error:
            piece = f"piece {index} of {of.picture.name}"
            raise InputError(f"opens, but its pixels cannot be read ({piece}: {error})", **place) from error
        except imagecodecs.DelayedImportError as error:
            raise InputError(
                f"needs a codec that is not installed ({error})", file=self.path, remedy=CONVERT
            ) from error
        if pixels is None:
            return None
        if pixels.dtype != np.uint8:
            raise InputError(
                f"has {pixels.dtype} pixels inside, though its tags say 8-bit", file=self.path, remedy=CONVERT
            )
        return pixels[0]

    def _drop_false_levels(self) -> None:
        """Leave out levels that show something else than the one above (a label of the slide's shape)."""
        kept = self._levels[:1]
        for level in self._levels[1:]:
            above = self._levels.index(kept[-1])
            if self._shows_the_same(above, self._levels.index(level)):
                kept.append(level)
            else:
                log.warning(
                    "%s: %s shows another picture than the slide and is not used", self.path, level.picture.name
                )
        if len(kept) < len(self._levels):
            self._levels = kept
            self._cache.clear()
            self._cached = 0

    def _shows_the_same(self, above: int, below: int) -> bool:
        """Compare patches of two levels, area-averaged to 8 x 8."""
        big, small = self._levels[above].picture, self._levels[below].picture
        self.downsamples = tuple(self.width / level.picture.width for level in self._levels)
        side = min(PATCH, small.width, small.height)
        worst = 0.0
        for i in range(PATCHES):
            for j in range(PATCHES):
                x = (small.width - side) * (2 * i + 1) // (2 * PATCHES)
                y = (small.height - side) * (2 * j + 1) // (2 * PATCHES)
                found = np.empty((2, 8, 8, 3), np.uint8)
                fx, fy = self.width / small.width, self.height / small.height
                box = (x * fx, y * fy, side * fx, side * fy)
                self.read_box(*box, found[0], above)
                self.read_box(*box, found[1], below)
                worst = max(worst, float(np.abs(found[0].astype(int) - found[1]).mean()))
        log.debug("%s: %s against %s: %.1f grey levels", self.path, small.name, big.name, worst)
        return worst <= SAME_PATCH


def to_rgb(raw: np.ndarray, picture: Picture, palette: np.ndarray | None) -> np.ndarray:
    """Turn decoded samples into RGB; a further channel is transparency only where ExtraSamples says so.

    Parameters
    ----------
    raw : ndarray of uint8, shape (h, w, samples)
    picture : Picture
        Its tags.
    palette : ndarray of uint8, shape (256, 3), optional
        Colours of an indexed picture.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3), contiguous
    """
    if picture.photometric == 3 and palette is not None:
        return np.ascontiguousarray(palette[raw[..., 0]])
    colours = 1 if picture.photometric in (0, 1) else 3
    colour = raw[..., :colours]
    if picture.photometric == 0:
        colour = 255 - colour
    rgb = np.ascontiguousarray(np.broadcast_to(colour, (*raw.shape[:2], 3)))
    kind = picture.extra[0] if picture.extra and raw.shape[-1] == colours + 1 else 0
    if kind == 1:  # colours are multiplied by alpha already
        white = WHITE - raw[..., -1:].astype(np.uint16)
        return np.minimum(rgb + white, 255).astype(np.uint8)
    if kind == 2:
        return on_white(np.ascontiguousarray(np.concatenate([rgb, raw[..., -1:]], axis=-1)))
    return rgb


def _level(tif: tifffile.TiffFile, picture: Picture, path: Path) -> _Level:
    """Find a picture's page again and describe its segments."""
    page = tif.pages[picture.page[0]]
    if len(picture.page) > 1:
        page = page.pages[picture.page[1]]  # type: ignore[index, union-attr]
    assert isinstance(page, tifffile.TiffPage)
    if picture.tiled:
        size = (int(page.tilewidth), int(page.tilelength))
    else:
        size = (picture.width, min(int(page.rowsperstrip), picture.height))
    if min(size) < 1:
        raise ValueError("its tiles have no size")
    columns, rows = -(-picture.width // size[0]), -(-picture.height // size[1])
    planes = picture.samples if picture.planar == 2 and picture.samples > 1 else 1
    offsets, counts = tuple(page.dataoffsets), tuple(page.databytecounts)
    if min(len(offsets), len(counts)) < columns * rows * planes:
        raise InputError(
            f"{picture.name} lists {len(offsets)} pieces of {columns * rows * planes}", file=path, remedy=RECOPY
        )
    palette = None
    if picture.photometric == 3:
        palette = np.ascontiguousarray((np.asarray(page.colormap) >> 8).astype(np.uint8).T)
    return _Level(picture, page, size, columns, rows, offsets, counts, page.jpegtables, palette, planes)


def _name(compression: int) -> str:
    try:
        return tifffile.COMPRESSION(compression).name.lower()
    except ValueError:
        return str(compression)
