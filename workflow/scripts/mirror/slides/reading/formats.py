"""What a file is, by its first bytes and its name, where that decides before any library opens it."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from ...core.errors import InputError
from ...core.regular_file import file_kind, require_regular
from .slide import CONVERT, RECOPY

GIT_LFS = b"version https://git-lfs"
TABLE = "correct slide_path in the slide table"
# Names under which a scanner writes a slide: a picture under one of them is a thumbnail or a preview.
TIFF_NAMES = (".tif", ".tiff", ".btf", ".tf8", ".tf2")
SLIDE_NAMES = (
    *TIFF_NAMES, ".svs", ".svslide", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".czi", ".dcm", ".vsi", ".ets",
    ".isyntax", ".i2syntax", ".qptiff", ".ome.tif", ".ome.tiff",
)  # fmt: skip
PICTURES = (
    (b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"BM", "BMP"), (b"GIF8", "GIF"), (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"), (b"%PDF", "PDF"), (b"\0\0\0\x0cjP  ", "JPEG 2000"), (b"RIFF", "WebP"),
)  # fmt: skip
DICOM = b"DICM"  # at byte 128
UNREAD = {  # formats that are recognised and not read: what to do instead
    ".vsi": "an Olympus VSI; its pixels lie in .ets files of the folder `_{stem}_`, which no reader here opens",
    ".ets": "a part of an Olympus VSI slide, which no reader here opens",
    ".isyntax": "a Philips iSyntax, which no reader here opens",
    ".i2syntax": "a Philips iSyntax, which no reader here opens",
    ".dat": "a data file of a MIRAX slide, not the slide itself (its .mrxs file)",
}
_CZI_TYPES = {0: "Gray8", 1: "Gray16", 2: "Gray32Float", 3: "Bgr24", 4: "Bgr48", 8: "Bgr96Float", 9: "Bgra32"}


def check_file(path: Path) -> None:
    """Refuse what is no slide before any library sees it: nothing is opened that is no regular file.

    Raises
    ------
    InputError
        For a path that is missing, a folder, a FIFO or another special file, empty, a git-LFS pointer, a picture under
        a slide's name, a format that no reader here opens, or a slide whose companion files are missing.
    """
    kind = file_kind(path)
    if kind == "missing":
        raise InputError("no such file", file=path, remedy=TABLE)
    if kind == "a folder":
        raise InputError("is a folder, not a slide", file=path, remedy="name the slide file in the slide table")
    require_regular(path, "slide", TABLE)
    with open(path, "rb") as handle:
        head = handle.read(132)
    if not head:
        raise InputError("is empty (zero bytes)", file=path, remedy=RECOPY)
    if head.startswith(GIT_LFS):
        raise InputError("is a git-LFS pointer, not the slide itself", file=path, remedy="run `git lfs pull`")
    suffix = path.suffix.lower()
    if suffix in UNREAD:
        what = UNREAD[suffix].format(stem=path.stem)
        remedy = "export it as a pyramidal OME-TIFF with QuPath or bioformats2raw and raw2ometiff"
        raise InputError(f"is {what}", file=path, remedy=remedy)
    if suffix == ".mrxs":
        _check_mirax(path)
    elif suffix in (".vms", ".vmu"):
        _check_list(path, re.compile(rb"=\s*([^\r\n]+)"))
    picture = next((name for magic, name in PICTURES if head.startswith(magic)), None)
    if picture and suffix in SLIDE_NAMES and suffix != ".mrxs":
        problem = f"is a {picture} picture under the name of a slide ({suffix}): a thumbnail or preview, not the slide"
        raise InputError(problem, file=path, remedy="give the slide that the scanner wrote")


def _check_mirax(path: Path) -> None:
    """A MIRAX slide is its folder; the .mrxs file is a thumbnail."""
    folder = path.with_suffix("")
    remedy = f"copy the folder `{folder.name}` to where the .mrxs file is"
    if not folder.is_dir():
        problem = (
            f"lacks its folder `{folder.name}/` (Slidedat.ini, Index.dat, Data*.dat): the .mrxs alone is a thumbnail"
        )
        raise InputError(problem, file=path, remedy=remedy)
    for part in folder.iterdir():
        if not part.is_dir():
            require_regular(part, "file of a MIRAX slide", f"remove it from `{folder.name}`, or {remedy}")
    ini = folder / "Slidedat.ini"
    if not ini.is_file():
        raise InputError(f"lacks `{folder.name}/Slidedat.ini`", file=path, remedy=remedy)
    if path.suffix != ".mrxs":
        raise InputError("is not opened by OpenSlide under this name", file=path, remedy="rename it to end in .mrxs")
    _check_list(path, re.compile(rb"(?m)^\s*(?:FILE_\d+|INDEXFILE)\s*=\s*([^\r\n]+)"), ini, must=True)


def _check_list(path: Path, pattern: re.Pattern[bytes], listing: Path | None = None, must: bool = False) -> None:
    """Check the files that a slide's listing names: regular, not empty, and there if they must be."""
    listing = listing or path
    with open(listing, "rb") as handle:
        text = handle.read(1 << 20)
    for found in pattern.findall(text):
        name = found.strip().decode("utf-8", "replace")
        part = listing.parent / name
        if not name or len(name) > 255 or ("/" in name and must):
            continue
        kind = file_kind(part)
        if kind == "missing" or (kind == "a folder" and not must):
            if must:
                raise InputError(
                    f"lacks `{listing.parent.name}/{name}`", file=path, remedy="copy the whole folder again"
                )
            continue
        require_regular(part, "file of the slide", "copy the whole slide again")
        if must and not part.stat().st_size:
            raise InputError(f"has an empty file, `{listing.parent.name}/{name}`", file=path, remedy=RECOPY)


def check_czi(path: Path) -> None:
    """Refuse a CZI whose pixels are not 8-bit colour; OpenSlide would convert them in silence.

    Raises
    ------
    InputError
        Names the pixel type of the first subblock.
    """
    with open(path, "rb") as handle:
        head = handle.read(92)
        if not head.startswith(b"ZISRAWFILE"):
            return
        handle.seek(struct.unpack("<q", head[84:92])[0])
        directory = handle.read(32 + 128 + 6)
    if not directory.startswith(b"ZISRAWDIRECTORY") or directory[160:162] != b"DV":
        return
    kind = struct.unpack("<i", directory[162:166])[0]
    if kind != 3:
        problem = f"has pixels of type {_CZI_TYPES.get(kind, kind)}, not 8-bit colour (Bgr24)"
        raise InputError(problem, file=path, remedy=CONVERT)
