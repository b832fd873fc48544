"""Opening slides: OpenSlide for the formats it knows, tifffile for other TIFFs, Pillow for plain images."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import numpy as np
import openslide
import tifffile

from ...core.errors import InputError
from ...core.memory import job_memory
from .dicom import check_dicom, find_series, is_dicom
from .formats import GIT_LFS, SLIDE_NAMES, TIFF_NAMES, check_czi, check_file
from .openslide_slide import OpenSlideSlide, bounds_of
from .plain_slide import open_plain
from .slide import CONVERT, RECOPY, Slide
from .tiff import TIFF_MAGIC, TiffContent, inspect_tiff
from .tiff_slide import LOSSLESS, NotRead, TiffSlide

log = logging.getLogger("mirror")

__all__ = ["GIT_LFS", "TIFF_MAGIC", "check_extent", "check_file", "open_slide", "resolve_slide_path"]
# What OpenSlide makes of these is what the TIFF's own pages say; in other formats the canvas is made of pieces.
PAGES = {"aperio", "generic-tiff"}
MEMORY = 2 << 30  # bytes that one slide may take where no caller says less
SHARED_PIXELS, PIXELS_PER_BYTE = 1_000_000_000, 20_000  # no codec of pictures comes near this ratio


def resolve_slide_path(path: str | Path) -> Path:
    """Return the file to open: the path itself, or of a folder with one DICOM series its largest level.

    Raises
    ------
    InputError
        For a folder that holds anything else.
    """
    path = Path(path)
    return find_series(path) if path.is_dir() else path


def open_slide(path: str | Path, backend: str = "auto", threads: int = 2, memory: int | None = None) -> Slide:
    """Open a slide or a plain image.

    Parameters
    ----------
    path : path-like
        The file, or a folder that holds one DICOM series.
    backend : {"auto", "openslide"}
        ``auto`` decodes JPEG tiles directly where that gives OpenSlide's pixels.
    threads : int
        Decoding threads of one large read.
    memory : int, optional
        Bytes that pictures held whole, or pieces of a TIFF, may take; a quarter of the job's memory and at most
        2 GiB by default.

    Returns
    -------
    Slide
        `Slide.notes` says what is odd about the file.

    Raises
    ------
    InputError
        When the file is missing, no regular file, empty, a git-LFS pointer, damaged, of no known format, not 8-bit, or
        when nothing tells which of its pictures is the slide.
    """
    path = resolve_slide_path(path)
    check_file(path)
    memory = min(MEMORY, job_memory() // 4) if memory is None else memory
    content = inspect_tiff(path)
    if content is not None:
        content.check_samples()
    elif is_dicom(path):
        check_dicom(path)
    try:
        handle = openslide.OpenSlide(str(path))
    except openslide.OpenSlideUnsupportedFormatError:
        return _without_openslide(path, content, memory)
    except openslide.OpenSlideError as error:
        remedy = CONVERT if "nsupported" in str(error) else RECOPY
        raise InputError(f"cannot be opened ({error})", file=path, remedy=remedy) from error
    try:
        vendor = handle.properties.get("openslide.vendor", "")
        if vendor == "zeiss":
            check_czi(path)
        if content is not None and vendor == "generic-tiff":
            content.check_single()
        if content is not None:
            for picture in content.pictures:
                if (picture.width, picture.height) == handle.dimensions:
                    content.check_samples(picture)
        if content is not None and vendor in PAGES and _needs_tifffile(handle, content, vendor):
            try:
                slide: Slide = _by_tifffile(content, memory, vendor, dict(handle.properties))
            except NotRead as reason:
                raise InputError(
                    f"OpenSlide would read it wrongly, and it has {reason}", file=path, remedy=CONVERT
                ) from None
            handle.close()
            return slide
        slide = _by_openslide(path, handle, backend, threads)
    except InputError:
        handle.close()
        raise
    if content is not None and vendor == "generic-tiff":
        slide.notes = content.notes
    if vendor == "generic-tiff" and path.suffix.lower() in SLIDE_NAMES and path.suffix.lower() not in TIFF_NAMES:
        slide.notes = (*slide.notes, f"a plain TIFF under the name of a scanner's format ({path.suffix})")
    return slide


def _by_openslide(path: Path, handle: openslide.OpenSlide, backend: str, threads: int) -> Slide:
    if backend == "auto":
        from .jpeg import JpegSlide, NotDirect  # it builds on this module

        try:
            return JpegSlide(path, handle, threads)
        except NotDirect as reason:
            log.debug("%s: read by OpenSlide: %s", path, reason)
    return OpenSlideSlide(path, handle)


def _needs_tifffile(handle: openslide.OpenSlide, content: TiffContent, vendor: str) -> bool:
    """Whether OpenSlide would read another picture, another level or other colours than the file says."""
    main = content.main
    if vendor == "aperio":  # its label and macro may be larger than a small scan; they are never tiled
        main = max((p for p in content.pictures if p.tiled), key=lambda p: p.pixels, default=main)
    if handle.dimensions != (main.width, main.height):
        return True
    if main.samples in (2, 4) and main.photometric != 5:  # libtiff takes any further channel for transparency
        return True
    if vendor == "generic-tiff":
        if main.sparse and main.compression in LOSSLESS:  # OpenSlide would draw every absent tile: minutes of white
            return True
        inside = any(len(level.page) > 1 for level in content.levels)
        aspect = main.width / main.height
        askew = any(abs(w / h / aspect - 1) > 0.02 + 2 / min(w, h) for w, h in handle.level_dimensions)
        return inside or askew or content.ome is not None
    return False


def _by_tifffile(
    content: TiffContent, memory: int, vendor: str = "", properties: dict[str, str] | None = None
) -> Slide:
    content.check_single()
    for level in content.levels:
        content.check_samples(level)
    slide = TiffSlide(content, memory)
    if properties and (vendor == "aperio" or content.main.sparse):  # what OpenSlide says of them is right
        slide.properties |= {k: v for k, v in properties.items() if not k.startswith("openslide.level")}
        slide.bounds = bounds_of(properties, slide.width, slide.height)
    slide.notes = content.notes
    return slide


def _without_openslide(path: Path, content: TiffContent | None, memory: int) -> Slide:
    """Open what OpenSlide knows nothing of: another TIFF, or a plain image."""
    suffix = path.suffix.lower()
    if content is None:
        if suffix == ".dcm" or is_dicom(path):
            problem = "is a DICOM file that OpenSlide does not take for a whole-slide image"
            raise InputError(problem, file=path, remedy="give one VOLUME file of the series")
        return open_plain(path, memory)
    if suffix in SLIDE_NAMES and suffix not in TIFF_NAMES and not content.main.tiled:
        problem = f"is a plain TIFF picture under the name of a slide ({suffix}): a thumbnail or export, not the slide"
        raise InputError(problem, file=path, remedy="give the slide that the scanner wrote")
    content.check_single()
    try:
        return _by_tifffile(content, memory)
    except NotRead as reason:
        log.debug("%s: read by Pillow: %s", path, reason)
        if content.main.page != (0,):
            problem = f"{content.main.name} is the slide, and it has {reason}, which is not read"
            raise InputError(problem, file=path, remedy=CONVERT) from None
        try:
            slide: Slide = open_plain(path, memory)
        except InputError as error:
            raise InputError(
                f"has {reason}, which no reader here opens ({error.problem})", file=path, remedy=CONVERT
            ) from error
        slide.notes = content.notes
        return slide


def check_extent(slide: Slide) -> None:
    """Refuse a TIFF whose tiles lie beyond the end of the file, or that draws a huge area from a few bytes.

    The overview of a truncated file may still look whole. Hamamatsu's files, whose offsets wrap at 4 GB, are left to
    OpenSlide.

    Raises
    ------
    InputError
        When the file is truncated, or claims more pixels than its bytes can hold.
    """
    with open(slide.path, "rb") as handle:
        magic = handle.read(4)
    if magic not in TIFF_MAGIC or slide.properties.get("openslide.vendor") == "hamamatsu":
        return
    size = slide.path.stat().st_size
    end = 0
    try:
        with tifffile.TiffFile(slide.path) as tif:
            for page in tif.pages:
                offsets, counts = np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64)
                count = min(len(offsets), len(counts))
                offsets, counts = offsets[:count], counts[:count]
                if count:
                    end = max(end, int((offsets + counts).max()))
                _check_shared(slide.path, page, offsets[counts > 0], counts[counts > 0])
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, TypeError, OverflowError, struct.error) as error:
        log.debug("%s: extent not checked: %s", slide.path, error)
        return
    if end > size:
        problem = f"is truncated: pixels up to byte {end:,} are announced, the file has {size:,}"
        raise InputError(problem, file=slide.path, remedy=RECOPY)


def _check_shared(
    path: Path, page: tifffile.TiffPage | tifffile.TiffFrame, offsets: np.ndarray, counts: np.ndarray
) -> None:
    """Refuse a page whose many pieces are the same few bytes."""
    if not len(offsets) or not isinstance(page, tifffile.TiffPage):
        return
    claimed = page.imagewidth * page.imagelength / max(1, len(page.dataoffsets)) * len(offsets)
    _, first = np.unique(offsets, return_index=True)
    stored = int(counts[first].sum())
    if claimed > SHARED_PIXELS and claimed / max(1, stored) > PIXELS_PER_BYTE:
        problem = f"claims {page.imagewidth:,} x {page.imagelength:,} px drawn from {stored:,} bytes, as no scan is"
        raise InputError(problem, file=path, remedy="give the slide that the scanner wrote")
