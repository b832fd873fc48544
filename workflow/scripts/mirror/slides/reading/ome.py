"""What the OME-XML of an OME-TIFF says of a picture: its resolution, channels and planes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree

MAX_XML = 16 << 20
UNITS = {  # micrometres; what is not here (pixel, reference frame) is no length
    "\u00b5m": 1.0, "\u03bcm": 1.0, "um": 1.0, "micron": 1.0, "micrometer": 1.0, "micrometre": 1.0,
    "nm": 1e-3, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6, "pm": 1e-6, "\u00c5": 1e-4, "\u212b": 1e-4,
    "in": 25_400.0, "inch": 25_400.0, "thou": 25.4, "mil": 25.4, "pt": 25_400.0 / 72, "ft": 304_800.0,
}  # fmt: skip


@dataclass(frozen=True)
class OmePixels:
    """One ``Pixels`` element.

    Attributes
    ----------
    mpp_x, mpp_y : float or None
        Micrometres per pixel; None where they are not said in a unit of length.
    size_c, size_z, size_t : int
        Channels (an RGB picture has 3), focal planes, time points.
    notes : tuple of str
        What does not fit.
    """

    mpp_x: float | None
    mpp_y: float | None
    size_c: int
    size_z: int
    size_t: int
    notes: tuple[str, ...] = ()


def is_ome(text: str | None) -> bool:
    """Whether a description is OME-XML."""
    return bool(text) and "<OME" in str(text)[:4096] and "</OME>" in str(text)[-64:]


def read_ome(xml: str, width: int, height: int) -> OmePixels | None:
    """Read the ``Pixels`` element of the picture of ``width`` x ``height`` pixels.

    Parameters
    ----------
    xml : str
        The whole OME-XML. Document types are not read (entities could be nested into a bomb).
    width, height : int
        Of the picture that is read.

    Returns
    -------
    OmePixels or None
        None when it is no OME-XML.
    """
    nothing = OmePixels(None, None, 1, 1, 1)
    if len(xml) > MAX_XML or "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        return OmePixels(None, None, 1, 1, 1, ("the OME-XML is not read: too long, or with a document type",))
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return OmePixels(None, None, 1, 1, 1, ("the OME-XML is damaged and not read",))
    found = [e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"]
    if not found:
        return nothing
    sized = [e for e in found if _int(e, "SizeX") == width and _int(e, "SizeY") == height]
    if not sized:
        sizes = ", ".join(f"{e.get('SizeX')} x {e.get('SizeY')}" for e in found[:3])
        note = f"the OME-XML describes {sizes} px, not the picture of {width} x {height} px; it is not read"
        return OmePixels(None, None, 1, 1, 1, (note,))
    pixels = sized[0]
    notes: list[str] = []
    x, y = _length(pixels, "PhysicalSizeX", notes), _length(pixels, "PhysicalSizeY", notes)
    return OmePixels(
        x, y, _int(pixels, "SizeC") or 1, _int(pixels, "SizeZ") or 1, _int(pixels, "SizeT") or 1, tuple(notes)
    )


def _int(element: ElementTree.Element, name: str) -> int:
    try:
        return int(element.get(name, "0"))
    except ValueError:
        return 0


def _length(element: ElementTree.Element, name: str, notes: list[str]) -> float | None:
    """A length in micrometres; the schema's default unit is the micrometre."""
    text = element.get(name)
    if text is None:
        return None
    unit = element.get(f"{name}Unit", "um").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if unit not in UNITS:
        notes.append(f"{name} {text} of the OME-XML is in {unit!r}, which is no length")
        return None
    return value * UNITS[unit] if math.isfinite(value) and value > 0 else None
