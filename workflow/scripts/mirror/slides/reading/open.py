"""Opening slides: OpenSlide for every format it knows, plain images otherwise."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import openslide
import tifffile

from ...core.errors import InputError
from .openslide_slide import OpenSlideSlide
from .plain_slide import _open_plain
from .slide import CONVERT, RECOPY, Slide

log = logging.getLogger("mirror")


TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

GIT_LFS = b"version https://git-lfs"


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
        from .jpeg import JpegSlide, NotDirect  # it builds on this module

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
