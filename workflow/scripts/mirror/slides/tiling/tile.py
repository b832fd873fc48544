"""From one slide file to its tile coordinates, contours and thumbnail."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...config.slides import SlideSettings
from ...core.errors import InputError
from ...core.memory import in_words, job_memory
from ...core.names import safe_name
from ...core.regular_file import require_regular
from ...io.tiles import TileTable, read_tiles, write_tiles
from ..reading.fingerprint import fingerprint
from ..reading.mpp import check_scale, fits_on_glass, resolve_mpp
from ..reading.open import check_extent, check_file, open_slide, resolve_slide_path
from ..reading.slide import Slide
from ..tissue.annotation import annotation_hash, apply_annotation, check_annotation
from ..tissue.default import segment
from ..tissue.geojson import write_geojson
from ..tissue.mask import TissueMask
from ..tissue.model import segment_by_model
from ..tissue.outlines import outlines
from ..tissue.published import segment_published
from ..tissue.stain import colour_note
from .grid import Grid, tile_grid, tile_shares
from .thumbnail import write_thumbnail

TILING_VERSION = 2  # raised when the same settings would give other tiles
MASK_PIXELS = 48_000_000  # of the tissue mask; a glass slide at 8 um/px has 31 million
DOUBTED_PIXELS = 4_000_000  # of the mask of a scan that is larger than a glass slide: its resolution is likely wrong
BLOCK_BYTES = 32  # of the published recipe for each of its blocks of 8 x 8 px
PROBES = 3  # kept tiles read at full resolution, so that a damaged slide fails here and not while embedding


@dataclass(frozen=True)
class TileResult:
    """What became of one slide; a row of the shard's status table without the patient.

    Attributes
    ----------
    status : {"ok", "empty", "failed"}
        ``empty``: read, but no tile was kept.
    mpp : float
        Micrometres per level-0 pixel; NaN when unknown.
    tissue_fraction, pen_fraction : float
        Share of the scanned region.
    message : str
        Warnings, or the one line that says why it failed.
    tile_um : float
        Micrometres per tile side.
    """

    slide_id: str
    slide_path: str
    status: str
    n_tiles: int = 0
    mpp: float = float("nan")
    mpp_source: str = ""
    tissue_fraction: float = float("nan")
    pen_fraction: float = float("nan")
    message: str = ""
    fingerprint: str = ""
    tile_um: float = float("nan")


def slide_files(out_dir: str | Path, slide_id: str) -> tuple[Path, Path, Path]:
    """Return where a slide's tiles (h5), thumbnail (jpg) and contours (geojson) are written."""
    name, out = safe_name(slide_id), Path(out_dir)
    return out / "tiles" / f"{name}.h5", out / "qc" / f"{name}.jpg", out / "contours" / f"{name}.geojson"


def settings_hash(settings: SlideSettings, mpp: float | None, mask: str | Path | None = None) -> str:
    """Hash everything but the slide that decides its tiles."""
    used = settings.resolved()
    parts = {
        "version": TILING_VERSION,
        "tile": used.tile.model_dump(),
        "tissue": used.tissue.model_dump(),
        "mpp": None if mpp is None or np.isnan(mpp) else float(mpp),
    }
    if used.tissue.model_path:
        parts["model"] = fingerprint(used.tissue.model_path)
    if mask:
        parts["mask"] = annotation_hash(require_regular(mask, "annotation"))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def tile_slide(
    slide_path: str | Path,
    slide_id: str,
    out_dir: str | Path,
    settings: SlideSettings,
    mpp: float | None = None,
    memory: int | None = None,
    mask_path: str | Path | None = None,
) -> TileResult:
    """Find tissue on one slide and write its tiles, contours and thumbnail.

    A slide whose files are whole and were made from the same content with the same settings is
    left as it is. The tile file is written last: where it is whole, the others are.

    Parameters
    ----------
    slide_path : path-like
        The slide.
    slide_id : str
        Name of the outputs.
    out_dir : path-like
        Gets ``tiles/{slide}.h5``, ``qc/{slide}.jpg`` and ``contours/{slide}.geojson``.
    settings : SlideSettings
        Grid and tissue detection.
    mpp : float, optional
        The sample table's micrometres per pixel.
    memory : int, optional
        Bytes that the slide may take; a quarter of the job's memory by default.
    mask_path : path-like, optional
        GeoJSON drawn by a person, which replaces or cuts the tissue mask.

    Returns
    -------
    TileResult
        With status ``ok`` or ``empty``.

    Raises
    ------
    InputError
        When the slide cannot be used; says why in one line.
    """
    tiles_path, qc_path, contour_path = slide_files(out_dir, slide_id)
    path = resolve_slide_path(slide_path)
    check_file(path)
    mark, used_hash = fingerprint(path), settings_hash(settings, mpp, mask_path)
    if qc_path.is_file() and contour_path.is_file():
        done = finished(tiles_path, mark, used_hash)
        if done is not None:
            return TileResult(slide_id, str(slide_path), **done)
    tiles_path.unlink(missing_ok=True)
    settings = settings.resolved()
    started, memory = time.monotonic(), job_memory() // 4 if memory is None else memory
    with open_slide(path, settings.backend, memory=memory) as slide:
        slide.deadline = started + 60 * settings.max_minutes
        tiled = tiles_of(slide, slide_id, settings, mpp, memory, mask_path)
        result = replace(tiled.result, slide_path=str(slide_path), fingerprint=mark)
        mask, table = tiled.mask, tiled.table
        shapes = {"Tissue": outlines(mask.tissue, slide.bounds), "Pen": outlines(mask.pen, slide.bounds)}
        write_geojson(contour_path, shapes)
        write_thumbnail(qc_path, tiled.overview, slide.bounds, shapes, tiled.kept, settings.thumbnail_px)
        info = {k: v for k, v in asdict(result).items() if k not in ("slide_id", "slide_path")}
        info |= {"mpp_target": settings.tile.mpp, "settings_hash": used_hash, "settings": settings.model_dump()}
        write_tiles(tiles_path, replace(table, info=info))
    return result


@dataclass(frozen=True)
class Tiled:
    """Tiles of an open slide, and what was found on the way; nothing of it is written yet.

    Attributes
    ----------
    result : TileResult
        Row of the shard's table.
    table : TileTable
        Tiles, with what a file of them says.
    kept : Grid
        The same tiles as a grid.
    overview : ndarray of uint8, shape (h, w, 3)
    mask : TissueMask
    """

    result: TileResult
    table: TileTable
    kept: Grid
    overview: np.ndarray
    mask: TissueMask


def tiles_of(
    slide: Slide,
    slide_id: str,
    settings: SlideSettings,
    mpp: float | None = None,
    memory: int | None = None,
    mask_path: str | Path | None = None,
) -> Tiled:
    """Find the tissue of an open slide and choose its tiles; parameters and errors as of `tile_slide`."""
    settings = settings.resolved()
    check_extent(slide)
    rule = settings.resolution_conflict
    true_mpp = resolve_mpp(slide.properties, mpp, slide.path, rule)
    scale = check_scale(true_mpp.value, slide.scanned_size, settings.tile.mpp, settings.whole_mount, rule, slide.path)
    fits = fits_on_glass(true_mpp.value, slide.scanned_size, settings.whole_mount)
    drawn = check_annotation(mask_path, (slide.width, slide.height)) if mask_path else None
    overview, mask = find_tissue(slide, true_mpp.value, settings, memory, MASK_PIXELS if fits else DOUBTED_PIXELS)
    if drawn is not None:
        mask = apply_annotation(mask, drawn, slide.bounds)
    grid = tile_grid(slide.bounds, true_mpp.value, settings.tile)
    if not len(grid.coords):
        size = f"{slide.bounds[2]} x {slide.bounds[3]} px, a tile needs {grid.size_level0} px"
        raise InputError(f"the slide is smaller than one tile ({size})", file=slide.path, remedy="use smaller tiles")
    kept, tissue, pen = choose_tiles(grid, mask, slide.bounds, settings, drawn is not None)
    probe(slide, kept)
    colours = colour_note(overview, mask.tissue)
    notes = [note for note in (*slide.notes, true_mpp.note, *scale, mask.note, colours) if note]
    if not len(kept.coords):
        notes.append("no tile with enough tissue")
    result = TileResult(
        slide_id=slide_id,
        slide_path=str(slide.path),
        status="ok" if len(kept.coords) else "empty",
        n_tiles=len(kept.coords),
        mpp=true_mpp.value,
        mpp_source=true_mpp.source,
        tissue_fraction=float(mask.tissue.mean()),
        pen_fraction=float(mask.pen.mean()),
        message="; ".join(notes),
        tile_um=round(kept.size_level0 * true_mpp.value, 4),
    )
    info = {"mpp": result.mpp, "mpp_source": result.mpp_source, "mpp_target": settings.tile.mpp}
    table = TileTable(kept.coords, tissue, pen, _grid_attrs(slide, slide_id, kept, settings), info)
    return Tiled(result, table, kept, overview, mask)


def finished(tiles_path: Path, mark: str, used_hash: str) -> dict[str, Any] | None:
    """Return the recorded result when the tile file is whole, of this slide and of these settings; else None."""
    try:
        info = read_tiles(tiles_path).info
    except InputError:
        return None
    if info.get("fingerprint") != mark or info.get("settings_hash") != used_hash:
        return None
    keys = (
        "status",
        "n_tiles",
        "mpp",
        "mpp_source",
        "tissue_fraction",
        "pen_fraction",
        "message",
        "fingerprint",
        "tile_um",
    )
    return {key: info[key] for key in keys}


def find_tissue(
    slide: Slide, mpp: float, settings: SlideSettings, memory: int | None = None, most: int | None = None
) -> tuple[np.ndarray, TissueMask]:
    """Read the overview and segment it as the settings say; a huge claimed area gives a coarser mask.

    ``most`` is the largest number of pixels of the mask, `MASK_PIXELS` where not given.

    Returns
    -------
    overview : ndarray of uint8, shape (h, w, 3)
    mask : TissueMask
    """
    width, height = slide.bounds[2:]
    bounded = math.sqrt(width * height / (most or MASK_PIXELS))  # level-0 pixels per mask pixel, at least
    fine = max(1.0, bounded, min(settings.tissue.mpp / mpp, max(width, height) / settings.thumbnail_px))
    if settings.tissue.method == "published":
        need = width * height * (mpp / settings.tile.mpp) ** 2 / 64 * BLOCK_BYTES
        if memory is not None and need > memory:
            problem = f"the published recipe needs {in_words(need)} for {width:,} x {height:,} px at {mpp:.4g} um/px, "
            problem += f"and a slide may take {in_words(memory)}"
            remedy = "check the slide's mpp, raise mem_mb of tile_slides, or use the default tissue method"
            raise InputError(problem, file=slide.path, remedy=remedy)
        picture = slide.overview(max(1.0, max(width, height) / settings.thumbnail_px))
        return picture, segment_published(slide, mpp, settings.tile.mpp)
    picture = slide.overview(fine)
    coarse = max(settings.tissue.mpp, mpp, bounded * mpp)
    size = (max(1, round(width * mpp / coarse)), max(1, round(height * mpp / coarse)))
    overview = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    if settings.tissue.method in ("torchscript", "safetensors"):
        return picture, segment_by_model(overview, coarse, settings.tissue)
    mask = segment(overview, coarse, settings.tissue)
    if coarse > max(settings.tissue.mpp, mpp):
        note = f"tissue was found at {coarse:.3g} um/px, not {settings.tissue.mpp:g}: the claimed area is too large"
        mask = replace(mask, note="; ".join(part for part in (mask.note, note) if part))
    return picture, mask


def choose_tiles(
    grid: Grid, mask: TissueMask, bounds: tuple[int, int, int, int], settings: SlideSettings, drawn: bool = False
) -> tuple[Grid, np.ndarray, np.ndarray]:
    """Keep the tiles with enough tissue and not too much pen.

    Returns
    -------
    kept : Grid
    tissue, pen : ndarray of float32, shape (n kept,)
    """
    tissue, pen = tile_shares(mask.tissue, bounds, grid), tile_shares(mask.pen, bounds, grid)
    keep = (tissue > 0) & (tissue >= settings.tissue.min_tissue_fraction) & (pen <= settings.tissue.max_pen_fraction)
    if settings.tissue.method == "published" and not keep.any() and not drawn:
        keep[:] = True  # as published: a slide on which nothing is found is used whole
    return Grid(grid.coords[keep], grid.size_level0, grid.step_level0), tissue[keep], pen[keep]


def probe(slide: Slide, kept: Grid) -> None:
    """Read a few kept tiles' corners at level 0, so that damage shows now."""
    for i in np.unique(np.linspace(0, len(kept.coords) - 1, PROBES).astype(int)) if len(kept.coords) else ():
        x, y = kept.coords[i]
        slide.read(0, int(x), int(y), min(kept.size_level0, 256), min(kept.size_level0, 256))


def _grid_attrs(slide: Slide, slide_id: str, grid: Grid, settings: SlideSettings) -> dict[str, Any]:
    """TRIDENT's attributes; magnifications follow from mpp, since objective powers lie."""
    target = 10.0 / settings.tile.mpp
    level0 = target * grid.size_level0 / settings.tile.size_px
    return {
        "patch_size": settings.tile.size_px,
        "patch_size_level0": grid.size_level0,
        "level0_magnification": _tidy(level0),
        "target_magnification": _tidy(target),
        "overlap": settings.tile.overlap_px,
        "name": slide_id,
        "savetodir": "",
        "level0_width": slide.width,
        "level0_height": slide.height,
    }


def _tidy(magnification: float) -> int | float:
    """Round to a whole magnification when within 5 % of it (40 rather than 39.7), as TRIDENT does."""
    nearest = max(1, round(magnification))
    return nearest if abs(nearest - magnification) <= 0.05 * magnification else round(magnification, 3)
