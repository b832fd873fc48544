"""The true resolution of a slide, micrometres per pixel, where it is known from, and what contradicts it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...core.errors import InputError
from .ome import is_ome, read_ome

LEAST, MOST = 0.05, 4.0  # um/px; nothing a microscope writes lies outside
MAX_ANISOTROPY = 0.05  # x and y may differ by this share
AGREE = 1.1  # two sources whose ratio is within this factor say the same
UM_PER_UNIT = {"inch": 25_400.0, "centimeter": 10_000.0}
REMEDY = "give this slide's micrometres per pixel in the column `mpp` of the sample table"
FACTORS = {  # what a ratio of two sources usually means
    2.0: "a factor of 2: 20x against 40x, or another level",
    2.54: "a factor of 2.54: pixels per inch against per centimetre",
    4.0: "a factor of 4: 10x against 40x, or another level",
    10.0: "a factor of 10: pixels per millimetre against per centimetre",
    25.4: "a factor of 25.4: pixels per inch against per millimetre",
}
GLASS_MM, WHOLE_MOUNT_MM = (76.0, 26.0), (76.2, 50.8)  # a slide of 3 x 1 inches; of 3 x 2 inches
GLASS_SLACK = 1.03
USUAL = (0.25, 0.5)  # um/px of scanners at 40x and 20x

Conflict = Literal["ask", "warn", "fail"]


@dataclass(frozen=True)
class Mpp:
    """A slide's resolution.

    Attributes
    ----------
    value : float
        Micrometres per pixel at level 0.
    source : {"table", "slide", "tiff", "objective"}
        Where the value is from, most trusted first.
    note : str
        A warning for the status table; empty when there is nothing to say.
    conflict : str
        What contradicts the value; a part of `note`.
    """

    value: float
    source: str
    note: str = ""
    conflict: str = ""


def resolve_mpp(
    properties: Mapping[str, str], table: float | None, path: str | Path, conflicts: Conflict = "warn"
) -> Mpp:
    """Find a slide's resolution; the first source that is plausible counts, the others are compared with it.

    Order of trust: the sample table, the slide's own ``openslide.mpp-x/-y`` (its description or OME-XML), the TIFF
    resolution tags, and last, with a warning, the objective power (10 um divided by it). Objective powers
    lie (in public collections slides labelled 20x have 0.25 um/px, others say -1) and many TIFF
    writers put the screen's 72 dpi into the resolution tags, hence the order and the limits.

    Parameters
    ----------
    properties : mapping
        OpenSlide's properties (or the like for a plain image).
    table : float or None
        The sample table's ``mpp``; None or NaN when it has none.
    path : path-like
        The slide, for messages.
    conflicts : {"ask", "warn", "fail"}
        What follows when two plausible sources differ by more than 10 %. ``warn``: the more trusted one counts and the
        note says so. ``ask``: a file that contradicts itself fails unless the table decides. ``fail``: every
        contradiction fails.

    Raises
    ------
    InputError
        When the table's value is outside 0.05 to 4, when nothing plausible is left, or for a contradiction.
    """
    refused: list[str] = []
    claims = _claims(properties, refused)
    if table is not None and not math.isnan(table):
        if not LEAST <= table <= MOST:
            raise InputError(
                f"mpp {table:g} of the sample table is outside {LEAST} to {MOST:g}", file=path, remedy=REMEDY
            )
        against = [(what, value) for what, _source, value in claims if not _agree(table, value)]
        contradiction = "; ".join(_differ(table, value, "the sample table", what) for what, value in against)
        if contradiction and conflicts == "fail":
            raise InputError(contradiction, file=path, remedy="correct the column `mpp` of the sample table")
        if not claims:
            lie = _lying_objective(float(table), properties).replace("mpp is trusted", "the sample table counts")
            return Mpp(float(table), "table", lie, lie)
        note = f"{contradiction}; the sample table counts" if contradiction else ""
        return Mpp(float(table), "table", note, note)
    if claims:
        first, source, best = claims[0]
        others = [(what, value) for what, _source, value in claims[1:] if not _agree(best, value)]
        contradiction = "; ".join(_differ(best, value, first, what) for what, value in others)
        if contradiction and conflicts != "warn":
            raise InputError(f"its resolution contradicts itself: {contradiction}", file=path, remedy=REMEDY)
        notes = [f"{contradiction}; {first} counts"] if contradiction else []
        if source == "slide":
            notes.append(_lying_objective(best, properties))
        else:
            notes += [*refused, f"mpp {best:.4g} taken from the TIFF resolution"]
        return Mpp(best, source, "; ".join(note for note in notes if note), notes[0] if contradiction else "")
    power = _number(properties, "openslide.objective-power")
    if power is not None:
        if power > 0 and LEAST <= 10.0 / power <= MOST:
            note = f"mpp {10.0 / power:.4g} guessed from objective power {power:g}, which is often wrong"
            return Mpp(10.0 / power, "objective", "; ".join([*refused, note]))
        refused.append(f"objective power {power:g} is not plausible")
    why = f" ({'; '.join(refused)})" if refused else ""
    raise InputError(f"resolution unknown{why}", file=path, remedy=REMEDY)


def check_scale(
    mpp: float, size: tuple[int, int], target: float, whole_mount: bool, conflicts: Conflict, path: str | Path
) -> list[str]:
    """Compare a resolution with the glass that the scan lies on, and with the resolution that tiles are read at.

    Parameters
    ----------
    mpp : float
        Micrometres per pixel at level 0.
    size : tuple of int
        Width and height of the scanned region, pixels.
    target : float
        Micrometres a pixel of the tiles.
    whole_mount : bool
        Allow 76 x 51 mm (2 x 3 inches) instead of 76 x 26 mm.
    conflicts : {"ask", "warn", "fail"}
        ``fail`` raises instead of returning warnings.

    Returns
    -------
    list of str
        Warnings.

    Raises
    ------
    InputError
        With ``fail``.
    """
    found = []
    glass = WHOLE_MOUNT_MM if whole_mount else GLASS_MM
    longer, shorter = (s * mpp / 1000 for s in (max(size), min(size)))
    if not fits_on_glass(mpp, size, whole_mount):
        text = f"at {mpp:.4g} um/px the scan would measure {longer:.0f} x {shorter:.0f} mm, more than a glass slide "
        text += f"({glass[0]:.0f} x {glass[1]:.0f} mm)"
        fits = [f for f in FACTORS if longer / f <= glass[0] and shorter / f <= glass[1] and mpp / f >= LEAST]
        if fits:  # most likely the one that gives what a scanner has: 0.25 or 0.5
            factor = min(fits, key=lambda f: min(abs(math.log(mpp / f / usual)) for usual in USUAL))
            text += f"; at {mpp / factor:.4g} um/px it would fit ({FACTORS[factor]})"
        remedy = "correct the column `mpp` of the sample table"
        found.append((text, remedy if whole_mount else f"{remedy}, or set slides.whole_mount: true"))
    if mpp > target * AGREE:
        text = f"{mpp:.4g} um/px is coarser than the {target:g} um/px of the tiles, "
        text += f"which are enlarged {mpp / target:.2g} times"
        found.append((text, "raise slides.tile.mpp, or leave the slide out"))
    if found and conflicts == "fail":
        raise InputError(found[0][0], file=path, remedy=found[0][1])
    return [f"{text} ({remedy})" for text, remedy in found]


def fits_on_glass(mpp: float, size: tuple[int, int], whole_mount: bool) -> bool:
    """Whether a scan of ``size`` pixels fits on a glass slide at ``mpp`` um/px."""
    glass = WHOLE_MOUNT_MM if whole_mount else GLASS_MM
    longer, shorter = (s * mpp / 1000 for s in (max(size), min(size)))
    return longer <= glass[0] * GLASS_SLACK and shorter <= glass[1] * GLASS_SLACK


def _claims(properties: Mapping[str, str], refused: list[str]) -> list[tuple[str, str, float]]:
    """What each part of the file says of its resolution, where plausible: words, source, um/px; most trusted first."""
    vendor = properties.get("openslide.vendor", "")
    out = []
    own = _pair(
        _number(properties, "openslide.mpp-x"), _number(properties, "openslide.mpp-y"), "the slide's mpp", refused
    )
    tags = _tiff_mpp(properties, refused)
    derived = vendor in ("generic-tiff", "trestle", "hamamatsu")  # OpenSlide takes theirs from the tags
    text = properties.get("tiff.ImageDescription", "") if derived or vendor in ("tiff", "plain-tiff") else ""
    said = _described(text, refused)
    if said is not None:
        out.append((said[0], "slide", said[1]))
    if own is not None:
        what = {"aperio": "the MPP of its description", "ome-tiff": "its OME-XML"}.get(vendor, "the slide's own mpp")
        out.append(("the TIFF resolution" if derived else what, "slide", own))
    if tags is not None and not (derived and own is not None):
        out.append(("the TIFF resolution", "tiff", tags))
    return out


def _described(text: str, refused: list[str]) -> tuple[str, float] | None:
    """Resolution from an ImageDescription that the reader does not interpret: OME-XML, or Aperio's ``MPP = ``."""
    if is_ome(text):
        size = re.search(r'SizeX="(\d+)"', text), re.search(r'SizeY="(\d+)"', text)
        found = read_ome(text, *(int(s[1]) if s else 0 for s in size))
        value = found and _pair(found.mpp_x, found.mpp_y, "the OME-XML's mpp", refused)
        return ("its OME-XML", value) if value else None
    hit = re.search(r"\bMPP\s*=\s*([0-9]+(?:[.,][0-9]+)?)", text[:20_000])
    if hit:
        number = _number({"mpp": hit[1].replace(",", ".")}, "mpp")
        value = _pair(number, number, "the description's MPP", refused)
        return ("the MPP of its description", value) if value else None
    return None


def _agree(a: float, b: float) -> bool:
    return 1 / AGREE <= a / b <= AGREE


def _differ(counts: float, other: float, first: str, second: str) -> str:
    """Say by how much two sources differ, and what such a factor usually means."""
    ratio = max(counts, other) / min(counts, other)
    meaning = next(
        (text for factor, text in FACTORS.items() if abs(ratio / factor - 1) < 0.03), f"a factor of {ratio:.3g}"
    )
    return f"mpp {counts:.4g} of {first} differs from {other:.4g} of {second} ({meaning})"


def _number(properties: Mapping[str, str], key: str) -> float | None:
    """Return a property as a finite number, or None."""
    try:
        value = float(properties[key])
    except (KeyError, ValueError, TypeError):
        return None
    return value if math.isfinite(value) else None


def _pair(x: float | None, y: float | None, what: str, refused: list[str]) -> float | None:
    """Return the mean of x and y when plausible; otherwise note why not."""
    x, y = (y if x is None else x), (x if y is None else y)
    if x is None or y is None:
        return None
    if not (LEAST <= x <= MOST and LEAST <= y <= MOST):
        refused.append(f"{what} {x:.4g} x {y:.4g} is outside {LEAST} to {MOST:g}")
        return None
    if abs(x - y) > MAX_ANISOTROPY * max(x, y):
        refused.append(f"{what} differs between x ({x:.4g}) and y ({y:.4g}) by more than {MAX_ANISOTROPY:.0%}")
        return None
    return (x + y) / 2


def _tiff_mpp(properties: Mapping[str, str], refused: list[str]) -> float | None:
    """Resolution from the TIFF tags; a missing unit is an inch, as the TIFF standard says."""
    unit = UM_PER_UNIT.get(properties.get("tiff.ResolutionUnit", "inch").lower())
    per_x, per_y = _number(properties, "tiff.XResolution"), _number(properties, "tiff.YResolution")
    if unit is None or not per_x or per_x < 0 or (per_y is not None and per_y <= 0):
        return None
    return _pair(unit / per_x, unit / per_y if per_y else None, "the TIFF resolution", refused)


def _lying_objective(mpp: float, properties: Mapping[str, str]) -> str:
    """Say when objective power and mpp are far apart; mpp counts."""
    power = _number(properties, "openslide.objective-power")
    if power is not None and (power <= 0 or not 0.6 < mpp * power / 10.0 < 1.67):
        return f"objective power {power:g} does not fit mpp {mpp:.4g}; mpp is trusted"
    return ""
