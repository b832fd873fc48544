"""Decoding the JPEG tiles of a TIFF directly, without going through OpenSlide.

Most slides are TIFFs of JPEG tiles. Their compressed tiles are read with ``pread`` and decoded
by libjpeg-turbo, which releases the interpreter lock and shrinks by 2, 4 or 8 while decoding (in
the DCT domain) when a coarser picture is wanted. OpenSlide stays the truth: a slide takes this
path only when everything about it is understood and a tile decoded here equals OpenSlide's.
"""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openslide
import simplejpeg
import tifffile

from .jpeg_header import jpeg_size
from .openslide_slide import OpenSlideSlide
from .slide import WHITE

log = logging.getLogger("mirror")
VENDORS = {"aperio", "generic-tiff"}  # whose levels are plain grids of tiles without gaps or overlap
REDUCTIONS = (1, 2, 4, 8)
SAME_WITHIN = 2  # grey levels by which a tile may differ from OpenSlide's at full size
ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
ADOBE_YCC = ADOBE_RGB[:-1] + b"\x01"


class NotDirect(Exception):
    """Why a slide is left to OpenSlide."""


@dataclass(frozen=True)
class JpegLevel:
    """One pyramid level: where its compressed tiles lie and how to complete them.

    Attributes
    ----------
    width, height : int
        Pixels.
    tile : tuple of int
        Width and height of a tile, multiples of 16.
    columns, rows : int
        Tiles.
    offsets, counts : ndarray of int64, shape (rows * columns,)
        Bytes.
    prefix : bytes
        What stands in for the first two bytes of each tile: start marker, colour space, tables.
    """

    width: int
    height: int
    tile: tuple[int, int]
    columns: int
    rows: int
    offsets: np.ndarray
    counts: np.ndarray
    prefix: bytes


class JpegSlide(OpenSlideSlide):
    """A slide whose levels, and their halves, quarters and eighths, are decoded directly.

    ``downsamples`` lists one virtual level for each level and reduction; `virtual` says which.
    """

    def __init__(self, path: Path, handle: openslide.OpenSlide, threads: int = 2) -> None:
        super().__init__(path, handle)
        self._levels = _parse(path, self)
        self.virtual = [(i, r) for i in range(len(self._levels)) for r in REDUCTIONS if _divides(self._levels[i], r)]
        self._plain = self.downsamples
        self.downsamples = tuple(self._plain[i] * r for i, r in self.virtual)
        self._threads = threads
        self._file = os.open(path, os.O_RDONLY)
        try:
            self._levels = [self._verified(i, level) for i, level in enumerate(self._levels)]
        except NotDirect:
            os.close(self._file)
            raise

    def best_level(self, scale: float) -> int:
        """Return the coarsest virtual level that keeps 35 dB to area averaging (measured in tests).

        Halving in the DCT domain equals averaging 2 x 2 pixels to 50 dB. What costs fidelity is a
        second resampling by a factor just above 1, and the more the coarser the picture: quarters
        and eighths are used only where the second factor is 1, or is at least 1.6.
        """
        best = 0
        for k, (_, reduction) in enumerate(self.virtual):
            rest = scale / self.downsamples[k]
            good = (reduction <= 2 and rest > 0.97) or abs(rest - 1) < 0.005 or rest >= 1.6
            better = (self.downsamples[k], -reduction) > (self.downsamples[best], -self.virtual[best][1])
            if good and better:
                best = k
        return best

    def reduced(self, level: int) -> bool:
        """Whether a virtual level is shrunk in the DCT domain."""
        return self.virtual[level][1] > 1

    def layout(self, level: int) -> tuple[int, int, int, int]:
        """Tile width and height of a virtual level in its own pixels, and its columns and rows."""
        i, reduction = self.virtual[level]
        jpeg = self._levels[i]
        return jpeg.tile[0] // reduction, jpeg.tile[1] // reduction, jpeg.columns, jpeg.rows

    def compressed(self, level: int, column: int, row: int) -> bytes:
        """Read one JPEG tile of a virtual level as a complete JPEG, still compressed."""
        jpeg = self._levels[self.virtual[level][0]]
        return self._raw(jpeg, row * jpeg.columns + column)

    def decode(self, level: int, column: int, row: int, buffer: np.ndarray | None = None) -> np.ndarray:
        """Decode one JPEG tile of a virtual level, into ``buffer`` where one is given.

        Returns
        -------
        ndarray of uint8, shape (tile height, tile width, 3)
            White beyond the slide's edge.

        Raises
        ------
        InputError
            When neither libjpeg-turbo nor OpenSlide can decode it.
        """
        i, reduction = self.virtual[level]
        jpeg = self._levels[i]
        width, height = jpeg.tile[0] // reduction, jpeg.tile[1] // reduction
        data = self._raw(jpeg, row * jpeg.columns + column)
        try:
            if jpeg_size(data) != jpeg.tile:  # a frame of another size could claim gigabytes
                return self._by_openslide(i, reduction, column, row)
            pixels = simplejpeg.decode_jpeg(data, "RGB", False, False, height, width, 1.0, buffer)
        except ValueError:
            return self._by_openslide(i, reduction, column, row)
        if pixels.shape != (height, width, 3):
            return self._by_openslide(i, reduction, column, row)
        if column == jpeg.columns - 1:
            pixels[:, -(-(jpeg.width - column * jpeg.tile[0]) // reduction) :] = WHITE
        if row == jpeg.rows - 1:
            pixels[-(-(jpeg.height - row * jpeg.tile[1]) // reduction) :] = WHITE
        return pixels

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        tile_w, tile_h, columns, rows = self.layout(level)
        span_x = range(max(0, x // tile_w), min(columns, -(-(x + width) // tile_w)))
        span_y = range(max(0, y // tile_h), min(rows, -(-(y + height) // tile_h)))
        out = np.full((height, width, 3), WHITE, np.uint8)

        def paste(place: tuple[int, int]) -> None:
            put(out, self.decode(level, *place), place[0] * tile_w - x, place[1] * tile_h - y)

        places = [(column, row) for row in span_y for column in span_x]
        if len(places) < 8 or self._threads < 2:
            for place in places:
                paste(place)
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(paste, places))
        return out

    def close(self) -> None:
        super().close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _raw(self, jpeg: JpegLevel, number: int) -> bytes:
        """One tile as a complete JPEG."""
        data = os.pread(self._file, int(jpeg.counts[number]), int(jpeg.offsets[number]))
        return jpeg.prefix + data[2:] if jpeg.prefix else data

    def _by_openslide(self, i: int, reduction: int, column: int, row: int) -> np.ndarray:
        """Let OpenSlide decode a tile that libjpeg-turbo refused, or say why it is damaged."""
        jpeg = self._levels[i]
        tile_w, tile_h = jpeg.tile
        scale = self._plain[i]
        pixels = self._region(round(column * tile_w * scale), round(row * tile_h * scale), i, tile_w, tile_h)
        if reduction == 1:
            return np.ascontiguousarray(pixels)  # may serve as a decoder's buffer later
        blocks = pixels.reshape(tile_h // reduction, reduction, tile_w // reduction, reduction, 3)
        return np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)

    def _verified(self, i: int, jpeg: JpegLevel) -> JpegLevel:
        """Return the level once a tile of it equals OpenSlide's; without a prefix where none is needed."""
        if jpeg.prefix in (b"\xff\xd8" + ADOBE_RGB, b"\xff\xd8" + ADOBE_YCC):
            bare = replace(jpeg, prefix=b"")
            try:
                self._verify(i, bare)
                return bare
            except NotDirect:
                pass  # its own markers mislead the decoder: the colour space must be said
        self._verify(i, jpeg)
        return jpeg

    def _verify(self, i: int, jpeg: JpegLevel) -> None:
        """Compare the tile with the most content against OpenSlide."""
        number = int(np.argmax(jpeg.counts))
        row, column = divmod(number, jpeg.columns)
        data = self._raw(jpeg, number)
        if jpeg_size(data) != jpeg.tile:
            raise NotDirect(f"a tile of level {i} is a JPEG of another size")
        try:
            ours = simplejpeg.decode_jpeg(data, "RGB")
        except ValueError as error:
            raise NotDirect(f"a tile of level {i} is not decoded ({error})") from error
        if ours.shape != (jpeg.tile[1], jpeg.tile[0], 3):
            raise NotDirect(f"a tile of level {i} is {ours.shape[1]} x {ours.shape[0]} px")
        width = min(jpeg.tile[0], jpeg.width - column * jpeg.tile[0])
        height = min(jpeg.tile[1], jpeg.height - row * jpeg.tile[1])
        scale = self._plain[i]
        x, y = round(column * jpeg.tile[0] * scale), round(row * jpeg.tile[1] * scale)
        truth = self._region(x, y, i, width, height).astype(np.int16)
        worst = int(np.abs(truth - ours[:height, :width]).max())
        if worst > SAME_WITHIN and float(scale).is_integer():
            raise NotDirect(f"a tile of level {i} differs from OpenSlide's by {worst} grey levels")
        if np.mean((truth - ours[:height, :width]) ** 2.0) > 255**2 / 10**4:
            raise NotDirect(f"a tile of level {i} is less than 40 dB from OpenSlide's")


def put(canvas: np.ndarray, piece: np.ndarray, x: int, y: int) -> None:
    """Copy ``piece`` onto ``canvas`` with its corner at x, y, clipped."""
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + piece.shape[1], canvas.shape[1]), min(y + piece.shape[0], canvas.shape[0])
    canvas[y0:y1, x0:x1] = piece[y0 - y : y1 - y, x0 - x : x1 - x]


def _divides(level: JpegLevel, reduction: int) -> bool:
    """Whether tiles shrink to whole pixels."""
    return level.tile[0] % reduction == 0 and level.tile[1] % reduction == 0


def _parse(path: Path, slide: OpenSlideSlide) -> list[JpegLevel]:
    """Find each OpenSlide level among the TIFF's pages.

    Raises
    ------
    NotDirect
        When any level is not a whole grid of baseline JPEG tiles.
    """
    vendor = slide.properties.get("openslide.vendor", "")
    if vendor not in VENDORS:
        raise NotDirect(f"format {vendor or 'unknown'}")
    size = path.stat().st_size
    levels: list[JpegLevel] = []
    try:
        with tifffile.TiffFile(path) as tif:
            tiled = [page for page in tif.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled]
            for width, height in slide.level_dimensions:
                page = next((p for p in tiled if (p.imagewidth, p.imagelength) == (width, height)), None)
                if page is None:
                    raise NotDirect(f"no tiled page of {width} x {height} px")
                levels.append(_level(page, size))
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, OSError) as error:
        raise NotDirect(f"TIFF structure not understood ({error})") from error
    return levels


def _level(page: tifffile.TiffPage, size: int) -> JpegLevel:
    """Describe a TIFF page as a grid of JPEG tiles."""
    if page.compression != tifffile.COMPRESSION.JPEG:
        raise NotDirect(f"compression {page.compression!r}")
    if page.samplesperpixel != 3 or page.bitspersample != 8 or page.planarconfig != 1:
        raise NotDirect("not 8-bit RGB in one plane")
    colour = {int(tifffile.PHOTOMETRIC.RGB): ADOBE_RGB, int(tifffile.PHOTOMETRIC.YCBCR): ADOBE_YCC}.get(
        page.photometric
    )
    if colour is None:
        raise NotDirect(f"photometric {page.photometric!r}")
    offsets, counts = np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64)
    columns, rows = -(-page.imagewidth // page.tilewidth), -(-page.imagelength // page.tilelength)
    if len(offsets) != columns * rows or page.tilewidth % 16 or page.tilelength % 16:
        raise NotDirect("not a regular grid of tiles")
    if not len(counts) or counts.min() <= 4 or (offsets + counts).max() > size:
        raise NotDirect("tiles missing")
    # libjpeg-turbo guesses the colour space from markers; the TIFF tag knows it
    prefix = b"\xff\xd8" + colour + (page.jpegtables[2:-2] if page.jpegtables else b"")
    return JpegLevel(
        page.imagewidth, page.imagelength, (page.tilewidth, page.tilelength), columns, rows, offsets, counts, prefix
    )
