"""Slides: each is opened; resolution, physical size of tiles and pixels are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from ..config.slides import SlideSettings
from ..core.errors import InputError
from ..core.findings import Finding, State
from ..core.progress import progress
from ..io.tile_scale import SCALE_REMEDY, compare_scales
from ..slides.reading.mpp import check_scale, resolve_mpp
from ..slides.reading.open import check_extent, open_slide
from ..slides.tissue.annotation import check_annotation
from .render import of_error

SHOWN = 10
UPSAMPLED = 1.1
"""A slide whose pixels are larger than those of a tile by more than this factor is enlarged."""


@dataclass
class SlideScan:
    """What was found on the slides of one cohort, for the plan.

    Attributes
    ----------
    area_mm2 : dict of str to float
        Scanned area by slide; slides that cannot be used are missing.
    mpp : dict of str to float
        Micrometres per level-0 pixel.
    """

    area_mm2: dict[str, float] = field(default_factory=dict)
    mpp: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Look:
    slide: str
    path: str
    state: State
    detail: str
    remedy: str = ""
    mpp: float = float("nan")
    source: str = ""
    area_mm2: float = 0.0
    tile_um: float = float("nan")


def check_slides(
    cohort: str,
    slides: list[dict[str, Any]],
    settings: dict[str, Any] | None = None,
    threads: int = 8,
    scan: SlideScan | None = None,
) -> Iterator[Finding]:
    """Open every slide, compare what is known of its resolution, read one tile's worth of pixels.

    Parameters
    ----------
    cohort : str
    slides : list of dict
        Rows of the slide table, without those that are left out.
    settings : dict, optional
        The config's ``slides``.
    threads : int
        Slides at a time.
    scan : SlideScan, optional
        Filled with what the plan needs.
    """
    used = SlideSettings.model_validate(settings or {}).resolved()
    plain = Lock()  # pictures that are held whole are opened one at a time

    def look(slide: dict[str, Any]) -> _Look:
        name, path = slide["slide_id"], slide["slide_path"]
        held = str(path).lower().endswith((".png", ".jpg", ".jpeg"))
        try:
            with plain if held else nullcontext(), open_slide(path) as opened:
                check_extent(opened)
                found = resolve_mpp(opened.properties, slide["mpp"], path, used.resolution_conflict)
                size = opened.scanned_size
                odd = check_scale(found.value, size, used.tile.mpp, used.whole_mount, used.resolution_conflict, path)
                opened.read(0, 0, 0, 16, 16)
                if slide.get("mask"):
                    check_annotation(slide["mask"], (opened.width, opened.height))
                note = "; ".join(text for text in (*opened.notes, found.note, *odd) if text)
                area = opened.bounds[2] * opened.bounds[3] * found.value**2 / 1e6
                side = round(used.tile.size_px * used.tile.mpp / found.value) * found.value
                remedy = "give its resolution in the column mpp of the slide table, or list it in exclude_slides"
                return _Look(
                    name,
                    str(path),
                    "warning" if note else "ok",
                    f"{found.value:.3g} um per pixel from {found.source}; {note}",
                    remedy if note else "",
                    found.value,
                    found.source,
                    area,
                    side,
                )
        except InputError as error:
            row = of_error(name, error)
            return _Look(name, str(path), "problem", row.detail, row.remedy)
        except Exception as error:  # a damaged file may raise anything; it must not end the other checks
            detail = f"{slide['slide_path']}: cannot be read ({type(error).__name__}: {error})"
            return _Look(name, str(path), "problem", detail, "copy the file again, or list it in exclude_slides")

    with ThreadPoolExecutor(threads) as pool:
        rows = list(progress(pool.map(look, slides), f"slides of {cohort}", len(slides), "slide"))
    good = [row for row in rows if row.state != "problem"]
    if len(rows) - len(good) <= used.max_failed_fraction * len(rows):  # a run goes on without them
        rows = [row if row in good else replace(row, state="warning") for row in rows]
    if scan is not None:
        scan.area_mm2.update({row.slide: row.area_mm2 for row in good})
        scan.mpp.update({row.slide: row.mpp for row in good})
    if good:
        mpps = Counter(f"{row.mpp:.3g}" for row in good).most_common(5)
        sources = Counter(row.source for row in good).most_common()
        detail = f"{len(good)} of {len(rows)} open; um per pixel " + ", ".join(f"{k} ({v})" for k, v in mpps)
        detail += "; from " + ", ".join(f"{k} ({v})" for k, v in sources)
        state: State = "ok" if len(good) == len(rows) else "warning"
        if any(row.state == "problem" for row in rows):
            remedy = f"correct them: more than slides.max_failed_fraction ({used.max_failed_fraction:g}) stop a run"
        else:
            remedy = "" if state == "ok" else "see their rows; a run leaves them out"
        yield Finding(f"{cohort}: slides", state, detail, remedy)
        yield from _tile_scale(cohort, good, used)
    closed = {row.slide for row in rows} - {row.slide for row in good}
    for worse in ("problem", "warning"):
        some = [row for row in rows if row.state == worse]
        yield from _said_once(cohort, [row for row in some if row.slide in closed])
        yield from _said_once(cohort, [row for row in some if row.slide not in closed])


def _said_once(cohort: str, rows: list[_Look]) -> Iterator[Finding]:
    """A finding per slide; one for all slides of which the same is said, and one for those beyond the first ten."""
    alike: dict[tuple[str, str], list[_Look]] = {}
    for row in rows:
        alike.setdefault((row.detail.replace(row.path, "").strip(), row.remedy), []).append(row)
    shown = list(alike.items())
    for (_, remedy), group in shown[:SHOWN]:
        name, detail = group[0].slide, group[0].detail.strip("; ")
        if len(group) > 1:
            name, detail = f"{len(group)} slides", f"{detail} (first: {', '.join(row.slide for row in group[:3])})"
        yield Finding(f"{cohort}: {name}", group[0].state, detail, remedy)
    if len(shown) > SHOWN:
        left = [row.slide for _, group in shown[SHOWN:] for row in group]
        detail = f"and {len(left)} more ({', '.join(left[:3])}{' ...' if len(left) > 3 else ''})"
        yield Finding(f"{cohort}: slides", rows[0].state, detail, "correct those shown, then look again")


def _tile_scale(cohort: str, rows: list[_Look], used: SlideSettings) -> Iterator[Finding]:
    """Micrometres per tile side over the slides, and slides that are enlarged to the target resolution."""
    what = f"{cohort}: micrometres per tile"
    sides = sorted(row.tile_um for row in rows)
    differ = compare_scales((row.slide, row.tile_um) for row in rows)
    if differ:
        yield Finding(what, "warning", differ, SCALE_REMEDY)
    else:
        yield Finding(what, "ok", f"{sides[0]:.4g} to {sides[-1]:.4g} um on {len(rows)} slides")
    coarse = [row for row in rows if row.mpp > UPSAMPLED * used.tile.mpp]
    if coarse and len(coarse) < len(rows):
        detail = (
            f"{len(coarse)} of {len(rows)} slides have larger pixels than a tile's {used.tile.mpp:g} um "
            f"(first: {coarse[0].slide}, {coarse[0].mpp:.3g} um) and are enlarged: blurred tiles beside sharp ones"
        )
        yield Finding(
            what, "warning", detail, f"set slides.tile.mpp to {max(r.mpp for r in coarse):.2g}, or leave them out"
        )
