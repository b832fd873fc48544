"""What a DICOM file is, and why it is no whole-slide image where it is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core.errors import InputError
from ...core.regular_file import file_kind

WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
DEFLATED = "1.2.840.10008.1.2.1.99"
MAX_LISTED = 2000  # files of one folder that are looked at
TAGS = [
    "SOPClassUID", "ImageType", "SeriesInstanceUID", "BitsAllocated", "BitsStored", "SamplesPerPixel",
    "PixelRepresentation", "ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber",
    "TotalPixelMatrixColumns",
]  # fmt: skip
ONE_SERIES = "give one file of the series (any VOLUME level), with its other levels in the same folder"


def is_dicom(path: Path) -> bool:
    """Whether the magic stands at byte 128."""
    with open(path, "rb") as handle:
        handle.seek(128)
        return handle.read(4) == b"DICM"


def check_dicom(path: Path) -> None:
    """Refuse a DICOM file that is no whole-slide image, or whose pixels are not 8-bit colour.

    OpenSlide opens every file of the folder to find the other levels, so that each must be a regular file.

    Raises
    ------
    InputError
        Says what the file is: an annotation, a label, a part of a concatenation, 16-bit.
    """
    for number, part in enumerate(sorted(path.parent.iterdir())):
        if number >= MAX_LISTED:
            break
        kind = file_kind(part)
        if kind not in (None, "a folder", "missing", "a link to a missing file"):
            problem = f"lies in a folder with {kind} (`{part.name}`), and all its files are opened to find the levels"
            raise InputError(problem, file=path, remedy="keep each series in a folder of its own")
    head = read_head(path)
    if head is None:
        return  # OpenSlide says why it does not open
    sop = head.get("SOPClassUID")
    if sop is not None and str(sop) != WSI:
        what = getattr(sop, "name", str(sop))
        raise InputError(f"is a DICOM {what}, not a whole-slide image", file=path, remedy=ONE_SERIES)
    if head.get("ConcatenationUID"):
        _check_concatenation(path, head)
    image_type = [str(v) for v in (head.get("ImageType") or [])]
    flavour = image_type[2] if len(image_type) > 2 else ""
    if flavour in ("LABEL", "OVERVIEW", "LOCALIZER") and not _has_volume(path, str(head.get("SeriesInstanceUID"))):
        problem = f"is the {flavour.lower()} picture of a slide whose pixels (ImageType VOLUME) are not in this folder"
        raise InputError(problem, file=path, remedy=ONE_SERIES)
    bits, signed = int(head.get("BitsAllocated") or 8), int(head.get("PixelRepresentation") or 0)
    stored = int(head.get("BitsStored") or bits)
    if (bits, stored, signed) != (8, 8, 0):
        problem = f"has pixels of {stored} bits in {bits}{', signed' if signed else ''}, not 8-bit unsigned integer"
        raise InputError(problem, file=path, remedy="convert it to 8-bit RGB with the scale that its viewer uses")
    if int(head.get("SamplesPerPixel") or 3) != 3:
        problem = f"has {head.get('SamplesPerPixel')} sample per pixel: it is no RGB picture (fluorescence?)"
        raise InputError(problem, file=path, remedy="give a brightfield slide as 8-bit RGB")


def _check_concatenation(path: Path, head: dict[str, Any]) -> None:
    """Refuse a part of a split instance whose other parts are not in its folder; OpenSlide joins whole ones."""
    uid, total = str(head["ConcatenationUID"]), int(head.get("InConcatenationTotalNumber") or 0)
    here = 0
    for other in _dicom_files(path.parent):
        own = read_head(other) or {}
        here += str(own.get("ConcatenationUID")) == uid
    if here > 1 and here >= total:
        return
    part = f"part {head.get('InConcatenationNumber', '?')} of {total or 'several'}"
    problem = f"is {part} of a concatenation, of which {here} {'lies' if here == 1 else 'lie'} in this folder"
    remedy = "copy all parts into the folder, or store the instance again unsplit (dcm4che, wsidicomizer)"
    raise InputError(problem, file=path, remedy=remedy)


def _dicom_files(folder: Path) -> Iterator[Path]:
    """DICOM files of a folder, at most `MAX_LISTED` entries of it."""
    for number, path in enumerate(sorted(folder.iterdir())):
        if number >= MAX_LISTED:
            return
        if file_kind(path) is None and is_dicom(path):
            yield path


def find_series(folder: Path) -> Path:
    """Choose the file to open of a folder that holds one DICOM series.

    Returns
    -------
    Path
        The VOLUME file with the largest picture.

    Raises
    ------
    InputError
        When the folder holds no whole-slide image, or several series: names one file of each.
    """
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in _dicom_files(folder):
        head = read_head(path)
        kind = [str(v) for v in ((head or {}).get("ImageType") or [])]
        if head is None or str(head.get("SOPClassUID")) != WSI or (len(kind) > 2 and kind[2] != "VOLUME"):
            continue
        series = str(head.get("SeriesInstanceUID"))
        found.setdefault(series, []).append((int(head.get("TotalPixelMatrixColumns") or 0), path))
    if not found:
        raise InputError("is a folder, not a slide", file=folder, remedy="name the slide file in the slide table")
    best = [max(files, key=lambda f: f[0])[1] for files in found.values()]
    if len(best) > 1:
        names = ", ".join(path.name for path in best[:4]) + (" ..." if len(best) > 4 else "")
        problem = f"is a folder of {len(best)} DICOM series; one file of each: {names}"
        raise InputError(problem, file=folder, remedy="name one of these files in the slide table, one row per series")
    return best[0]


def read_head(path: Path) -> dict[str, Any] | None:
    """The attributes of `TAGS`, without pixels; None where the file is not understood or is deflated."""
    import pydicom

    try:
        meta = pydicom.filereader.read_file_meta_info(path)
        if str(meta.get("TransferSyntaxUID")) == DEFLATED:  # inflating has no bound
            return None
        data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
    except Exception:  # a damaged file may raise anything
        return None
    return {name: data.get(name) for name in TAGS if name in data}


def _has_volume(path: Path, series: str) -> bool:
    """Whether a file of the same series in the same folder holds the slide's own pixels."""
    for other in _dicom_files(path.parent):
        if other == path:
            continue
        head = read_head(other) or {}
        kind = [str(v) for v in (head.get("ImageType") or [])]
        if str(head.get("SeriesInstanceUID")) == series and len(kind) > 2 and kind[2] == "VOLUME":
            return True
    return False
