"""What a TIFF holds: its pictures, the type of their samples, and which of them is the slide."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import tifffile

from ...core.errors import InputError
from .ome import OmePixels, is_ome, read_ome

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_PAGES = 2000  # a slide has tens; every page read costs time before the first pixel
SAME_SHAPE = 0.01  # relative difference of two axes' factors up to which a page counts as a reduced copy
TO_8_BIT = "convert it to 8-bit RGB with the scale that its viewer uses"
ONE_PICTURE = "export the slide alone as a tiled TIFF, one picture with its reduced copies"
_TYPES = {1: "unsigned integer", 2: "signed integer", 3: "floating point", 5: "complex integer", 6: "complex"}


@dataclass(frozen=True)
class Picture:
    """One picture of a TIFF.

    Attributes
    ----------
    page : tuple of int
        Page number; of a picture in a SubIFD the page's number and that of the SubIFD.
    width, height : int
        Pixels.
    tiled : bool
        Stored as tiles; otherwise as strips.
    samples : int
        Samples per pixel.
    sample_type : str
        Such as ``8-bit unsigned integer``.
    extra : tuple of int
        ExtraSamples: 0 unspecified, 1 associated alpha, 2 unassociated alpha.
    photometric, planar, compression : int
        The tags' values.
    reduced : bool
        NewSubfileType says that it is a reduced copy of another picture.
    sparse : bool
        More than half of its tiles or strips are not stored.
    """

    page: tuple[int, ...]
    width: int
    height: int
    tiled: bool
    samples: int
    sample_type: str
    extra: tuple[int, ...]
    photometric: int
    planar: int
    compression: int
    reduced: bool
    sparse: bool = False

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height

    @property
    def name(self) -> str:
        """The picture in words: ``page 1 (3,072 x 3,072 px)``."""
        where = f"page {self.page[0]}" + (f", SubIFD {self.page[1]}" if len(self.page) > 1 else "")
        return f"{where} ({self.width:,} x {self.height:,} px)"

    def is_copy_of(self, other: Picture) -> bool:
        """Whether this has the other picture's shape, reduced."""
        if self.width >= other.width or self.height >= other.height:
            return False
        # half a pixel of rounding on each axis, and one more for writers that cut instead of rounding
        slack = SAME_SHAPE + 1.5 / min(self.width, self.height)
        return abs((other.width / self.width) / (other.height / self.height) - 1) <= slack


@dataclass(frozen=True)
class TiffContent:
    """A TIFF's pictures and what they say of themselves.

    Attributes
    ----------
    path : Path
        The file.
    pictures : tuple of Picture
        Its pages, in order.
    main : Picture
        The largest; the first of several of that size.
    levels : tuple of Picture
        `main` and its reduced copies, from pages and SubIFDs, largest first.
    properties : dict of str to str
        Resolution and description of `main`, as OpenSlide names them.
    ome : OmePixels or None
        What the OME-XML says of `main`.
    notes : tuple of str
        What is odd about the file; for the status table.
    """

    path: Path
    pictures: tuple[Picture, ...]
    main: Picture
    levels: tuple[Picture, ...]
    properties: dict[str, str]
    ome: OmePixels | None
    notes: tuple[str, ...]

    def check_samples(self, picture: Picture | None = None) -> None:
        """Refuse pixels that are not 8-bit unsigned integers, grey or colour.

        Raises
        ------
        InputError
            Names the type that was found.
        """
        picture = picture or self.main
        if picture.sample_type != "8-bit unsigned integer":
            problem = f"has pixels of type {picture.sample_type}, not 8-bit unsigned integer"
            raise InputError(problem, file=self.path, remedy=TO_8_BIT)
        colours = 1 if picture.photometric in (0, 1, 3) else 4 if picture.photometric == 5 else 3
        if picture.samples not in (colours, colours + 1):
            problem = f"has {picture.samples} channels, which is not an RGB picture (fluorescence or multiplexed?)"
            raise InputError(problem, file=self.path, remedy="give a brightfield slide as 8-bit RGB")

    def check_single(self) -> None:
        """Refuse a file in which nothing tells the slide from other pictures.

        Raises
        ------
        InputError
            For several full-size pictures (focal planes, channels, time points, scenes).
        """
        if self.ome is not None:
            planes = self.ome.size_z * self.ome.size_t
            if planes > 1:
                problem = f"holds {planes} planes ({self.ome.size_z} in focus, {self.ome.size_t} in time)"
                raise InputError(problem, file=self.path, remedy="export one plane as an OME-TIFF of its own")
            if self.ome.size_c > 1 and self.ome.size_c not in (self.main.samples, self.main.samples - 1):
                problem = f"holds {self.ome.size_c} channels in {self.main.samples}-sample planes: it is no RGB picture"
                raise InputError(problem, file=self.path, remedy="export it as interleaved 8-bit RGB")
        equal = [p for p in self.pictures if (p.width, p.height) == (self.main.width, self.main.height)]
        equal = [p for p in equal if not p.reduced]
        if len(equal) > 1:
            names = ", ".join(p.name for p in equal[:3]) + (" ..." if len(equal) > 3 else "")
            problem = f"holds {len(equal)} pictures of the same full size, and nothing says which is the slide: {names}"
            raise InputError(problem, file=self.path, remedy=ONE_PICTURE)
        text = self.properties.get("tiff.ImageDescription", "")
        if text.startswith("ImageJ=") and "\nimages=" in text:
            raise InputError("is an ImageJ stack of several planes", file=self.path, remedy=ONE_PICTURE)


def inspect_tiff(path: str | Path) -> TiffContent | None:
    """Look into a TIFF without reading a pixel.

    Parameters
    ----------
    path : path-like
        A regular file.

    Returns
    -------
    TiffContent or None
        None when it is no TIFF, or one that cannot be understood (its reader says why).

    Raises
    ------
    InputError
        More than 2,000 pages.
    """
    path = Path(path)
    with open(path, "rb") as handle:
        if handle.read(4) not in TIFF_MAGIC:
            return None
    try:
        with tifffile.TiffFile(path) as tif:
            pictures: list[Picture] = []
            for number, page in enumerate(tif.pages):
                if number >= MAX_PAGES:
                    problem = f"has more than {MAX_PAGES:,} pages, as no slide has"
                    raise InputError(problem, file=path, remedy=ONE_PICTURE)
                if isinstance(page, tifffile.TiffPage) and page.imagewidth and page.imagelength:
                    pictures.append(_picture(page, (number,)))
            if not pictures:
                return None
            main = max(pictures, key=lambda p: p.pixels)
            page = tif.pages[main.page[0]]
            assert isinstance(page, tifffile.TiffPage)
            below = [_picture(sub, (*main.page, i)) for i, sub in enumerate((page.pages or [])[:MAX_PAGES])
                     if isinstance(sub, tifffile.TiffPage) and sub.imagewidth and sub.imagelength]  # fmt: skip
            properties = _properties(page)
            first = tif.pages.first.description
            xml = next((text for text in (page.description, first) if is_ome(text)), None)
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error):
        return None
    except (OSError, RuntimeError, OverflowError, ZeroDivisionError):  # whatever else a cut or hostile file provokes
        return None
    copies = [p for p in below if p.is_copy_of(main)]
    copies += [p for p in pictures if p is not main and p.reduced and p.is_copy_of(main)]
    levels = {p.width: p for p in reversed([*copies, main]) if p.sample_type == main.sample_type}
    ordered = tuple(sorted(levels.values(), key=lambda p: -p.width))
    ome = None if xml is None else read_ome(xml, main.width, main.height)
    notes = list(ome.notes) if ome else []
    if main.page != (0,):
        notes.append(f"{main.name} is read as the slide; page 0 is {pictures[0].name.partition(' (')[2][:-1]}")
    known = {p.page for p in ordered}
    others = [p for p in pictures if p.page not in known and p.pixels > main.pixels / 4 and not p.is_copy_of(main)]
    if others and len(others) < 9:
        notes.append("the file also holds " + ", ".join(p.name for p in others) + ", not read")
    return TiffContent(path, tuple(pictures), main, ordered, properties, ome, tuple(notes))


def _picture(page: tifffile.TiffPage, number: tuple[int, ...]) -> Picture:
    bits, form = page.bitspersample, page.sampleformat
    form = form[0] if isinstance(form, tuple) else form
    size = f"{bits}-bit" if isinstance(bits, int) else "-".join(str(b) for b in bits) + "-bit"
    return Picture(
        page=number,
        width=int(page.imagewidth),
        height=int(page.imagelength),
        tiled=bool(page.is_tiled),
        samples=int(page.samplesperpixel),
        sample_type=f"{size} {_TYPES.get(int(form), f'sample format {int(form)}')}",
        extra=tuple(int(value) for value in page.extrasamples),
        photometric=int(page.photometric),
        planar=int(page.planarconfig),
        compression=int(page.compression),
        reduced=bool(int(page.subfiletype) & 1),
        sparse=2 * sum(not count for count in page.databytecounts) > len(page.databytecounts),
    )


def _properties(page: tifffile.TiffPage) -> dict[str, str]:
    """Resolution and description, named and written as OpenSlide does."""
    out: dict[str, str] = {}
    unit = page.tags.valueof(296, 2)
    out["tiff.ResolutionUnit"] = {2: "inch", 3: "centimeter"}.get(int(unit), "none")
    for name, code in (("tiff.XResolution", 282), ("tiff.YResolution", 283)):
        value = page.tags.valueof(code)
        if isinstance(value, tuple) and len(value) == 2 and value[1]:
            out[name] = repr(value[0] / value[1])
    if page.description:
        out["tiff.ImageDescription"] = page.description
    return out
