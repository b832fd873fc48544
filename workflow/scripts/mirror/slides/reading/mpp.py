"""The true resolution of a slide, micrometres a pixel, and where it is known from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import InputError

LEAST, MOST = 0.05, 4.0  # um/px; nothing a microscope writes lies outside
MAX_ANISOTROPY = 0.05  # x and y may differ by this share
UM_PER_UNIT = {"inch": 25_400.0, "centimeter": 10_000.0}
REMEDY = "give this slide's micrometres a pixel in the column `mpp` of the sample table"


@dataclass(frozen=True)
class Mpp:
    """A slide's resolution.

    Attributes
    ----------
    value : float
        Micrometres a pixel at level 0.
    source : {"table", "slide", "tiff", "objective"}
        Where the value is from, most trusted first.
    note : str
        A warning for the status table; empty when there is nothing to say.
    """

    value: float
    source: str
    note: str = ""


def resolve_mpp(properties: Mapping[str, str], table: float | None, path: str | Path) -> Mpp:
    """Find a slide's resolution; the first source that is plausible counts.

    Order of trust: the sample table, the slide's own ``openslide.mpp-x/-y``, the TIFF resolution
    tags, and last, with a warning, the objective power (10 um divided by it). Objective powers
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

    Raises
    ------
    InputError
        When the table's value is outside 0.05 to 4, or when nothing plausible is left.
    """
    if table is not None and not math.isnan(table):
        if not LEAST <= table <= MOST:
            raise InputError(
                f"mpp {table:g} of the sample table is outside {LEAST} to {MOST:g}", file=path, remedy=REMEDY
            )
        return Mpp(float(table), "table")
    refused: list[str] = []
    own = _pair(
        _number(properties, "openslide.mpp-x"), _number(properties, "openslide.mpp-y"), "the slide's mpp", refused
    )
    if own is not None:
        return Mpp(own, "slide", _lying_objective(own, properties))
    tags = _tiff_mpp(properties, refused)
    if tags is not None:
        return Mpp(tags, "tiff", "; ".join([*refused, f"mpp {tags:.4g} taken from the TIFF resolution"]))
    power = _number(properties, "openslide.objective-power")
    if power is not None:
        if power > 0 and LEAST <= 10.0 / power <= MOST:
            note = f"mpp {10.0 / power:.4g} guessed from objective power {power:g}, which is often wrong"
            return Mpp(10.0 / power, "objective", "; ".join([*refused, note]))
        refused.append(f"objective power {power:g} is not plausible")
    why = f" ({'; '.join(refused)})" if refused else ""
    raise InputError(f"resolution unknown{why}", file=path, remedy=REMEDY)


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
