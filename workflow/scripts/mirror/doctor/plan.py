"""The plan: jobs, hours and disk, from what was measured on a few slides, with what is assumed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.findings import Finding
from .slides import SlideScan

TILES_PER_MM2 = 24.0  # assumed where no slide was tiled: 128 um tiles, 40 % of the scanned area is tissue
TILING_S = 5.0  # assumed seconds per slide
TILES_PER_S = {"CPU": 15.0, "GPU": 400.0}  # assumed, reading included
STEP_S = {"CPU": 5.0, "GPU": 0.2}  # assumed seconds of a training step
FEATURE_BYTES = 2.2  # per number of a feature: float16 with its share of coordinates and chunks
SLIDE_FILES = 0.6e6  # bytes of thumbnail, contours and tile file, per slide
MODEL_MB = 60.0  # assumed size of a checkpoint
SPARE = 1.2  # of the disk that the plan asks for


@dataclass
class Scale:
    """What the checks of tables and slides found, by cohort.

    Attributes
    ----------
    slides : dict of str to int
        Slides that are read or whose features are imported, without those left out.
    scans : dict of str to SlideScan
        Cohorts whose slides are read.
    widths : dict of str to int
        Features per tile by encoder, of slides that are read.
    """

    slides: dict[str, int] = field(default_factory=dict)
    scans: dict[str, SlideScan] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)


def check_plan(
    results: Path,
    scale: Scale,
    work: Mapping[str, Any],
    variants: Mapping[str, Mapping[str, Any]],
    slide_trial: Mapping[str, Any] | None,
    training_trial: Sequence[Mapping[str, Any]] | None,
) -> Iterator[Finding]:
    """Rows of the plan for a run from the beginning; each says what was measured and what is assumed.

    Parameters
    ----------
    results : Path
        Whose disk is looked at.
    scale : Scale
    work : mapping
        `mirror.plan.work.Work`.
    variants : mapping
        Variant to its settings of pre-training.
    slide_trial, training_trial
        What `try_slides` and `try_training` wrote; None where they did not run.
    """
    counted = ", ".join(f"{n} {kind}" for kind, n in work["jobs"].items() if n)
    yield Finding("plan: jobs", "ok", f"{sum(work['jobs'].values())}: {counted}; tables and figures come on top")
    tiles, rows = _tiles(scale, slide_trial or {})
    yield from rows
    if tiles:
        yield from _features(tiles, scale, slide_trial or {})
    disk = sum(tiles * width * FEATURE_BYTES for width in scale.widths.values())
    disk += SLIDE_FILES * sum(len(scan.area_mm2) for scan in scale.scans.values())
    pairs = {cohort: n for cohort, n in scale.slides.items() if cohort in work["models"]}
    if pairs:
        found = _training(pairs, work, variants, training_trial or [])
        yield found[0]
        disk += found[1]
    free = shutil.disk_usage(results).free
    what = f"features of {tiles:,.0f} tiles, {sum(work['models'].values())} models"
    detail = f"{_bytes(disk)} needed ({what}), {_bytes(free)} free"
    if free > SPARE * disk + 2**30:
        yield Finding("plan: disk", "ok", detail)
    else:
        yield Finding("plan: disk", "problem", detail, "make room, or set `results` to a folder on a larger disk")


def _tiles(scale: Scale, trial: Mapping[str, Any]) -> tuple[float, list[Finding]]:
    """Tiles of all slides that are read, and the rows that say so."""
    area = sum(sum(scan.area_mm2.values()) for scan in scale.scans.values())
    n = sum(len(scan.area_mm2) for scan in scale.scans.values())
    if not n:
        return 0.0, []
    tried = [s for s in trial.get("slides", ()) if not s["problem"] and s["area_mm2"] > 0]
    if not tried:
        tiles = area * TILES_PER_MM2
        detail = f"about {tiles:,.0f} on {n} slides of {area:,.0f} mm2 scanned (assumed: {TILES_PER_MM2:g} per mm2)"
        return tiles, [Finding("plan: tiles", "ok", detail)]
    density = sum(s["n_tiles"] for s in tried) / sum(s["area_mm2"] for s in tried)
    each = sorted(s["n_tiles"] / s["area_mm2"] for s in tried)
    seconds = sum(s["seconds"] for s in tried) / len(tried)
    tiles = area * density
    names = ", ".join(f"{s['slide_id']} {s['n_tiles']:,}" for s in tried)
    between = f" (between {area * each[0]:,.0f} and {area * each[-1]:,.0f})" if len(each) > 1 else ""
    measured = f"measured: {names}; assumed: the same share of tissue on the others"
    return tiles, [
        Finding("plan: tiles", "ok", f"about {tiles:,.0f} on {n} slides{between}; {measured}"),
        Finding(
            "plan: tiling",
            "ok",
            f"{_hours(n * seconds)} of one core; measured: {seconds:.1f} s per slide, mean of {len(tried)}",
        ),
    ]


def _features(tiles: float, scale: Scale, trial: Mapping[str, Any]) -> Iterator[Finding]:
    """Hours of every encoder."""
    tried = {row["encoder"]: row for row in trial.get("encoders", ())}
    on = next((_kind(row["device"]) for row in tried.values() if row["device"]), None)
    for name in scale.widths:
        row = tried.get(name, {"problem": "not tried", "tiles": 0})
        if row["tiles"]:
            speed, kind = row["tiles"] / row["seconds"], _kind(row["device"])
            how = f"measured on {row['device']}: {speed:,.0f} tiles per s, {row['tiles']:,} tiles with reading"
        else:
            kind = on or "GPU"
            speed = TILES_PER_S[kind]
            how = f"assumed: {speed:g} tiles per s; not measured: {row['problem'] or 'no tiles'}"
        yield Finding(f"plan: features of {name}", "ok", f"{_hours(tiles / speed)} on a {kind}; {how}")


def _training(
    pairs: Mapping[str, int],
    work: Mapping[str, Any],
    variants: Mapping[str, Mapping[str, Any]],
    trial: Sequence[Mapping[str, Any]],
) -> tuple[Finding, float]:
    """The row of pre-training, and the bytes of its checkpoints."""
    tried = {row["variant"]: row for row in trial if not row["problem"]}
    kinds = {_kind(row["device"]) for row in tried.values()}
    kind = kinds.pop() if kinds else "GPU"
    spent = disk = 0.0
    measured = []
    for name, settings in variants.items():
        train = settings["train"]
        row = tried.get(name)
        step = row["seconds"] if row else STEP_S[kind]
        if row:
            measured.append(f"{name} {step:.2g} s")
        for cohort, n in pairs.items():
            models = work["models"][cohort] / len(variants)
            steps = train["epochs"] * max(1, round(n * (1 - 1 / work["folds"]) / train["batch_size"]))
            spent += models * steps * step
            disk += models * 1e6 * (row["megabytes"] if row else MODEL_MB)
    total = sum(work["models"][c] for c in pairs)
    of = ", ".join(f"{cohort} ({n} slides)" for cohort, n in pairs.items())
    detail = f"{_hours(spent)} on a {kind} for {total} models of {of}"
    if measured:
        detail += f"; measured: a training step of {', '.join(measured)}"
        if any(row["pairs"] < variants[name]["train"]["batch_size"] for name, row in tried.items()):
            detail += " (fewer pairs, scaled to the batch)"
    missing = [name for name in variants if name not in tried]
    if missing:
        detail += f"; assumed: {STEP_S[kind]:g} s per step of {', '.join(missing)}"
    return Finding("plan: pre-training", "ok", f"{detail}; assumed: every slide is one pair, reading keeps up"), disk


def _kind(device: str) -> str:
    return "CPU" if device == "CPU" else "GPU"


def _hours(seconds: float) -> str:
    """A time for reading."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"


def _bytes(n: float) -> str:
    return f"{n / 1e9:,.1f} GB" if n >= 1e8 else f"{n / 1e6:,.0f} MB"
