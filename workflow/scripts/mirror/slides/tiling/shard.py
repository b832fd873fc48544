"""Tiling a shard of slides, each by itself: one that fails is a row of a table, not the end of the job."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...config.slides import SlideSettings
from ...core.atomic import PART, write_tsv
from ...core.errors import InputError
from ...core.memory import job_memory
from ...core.names import safe_name
from ...core.progress import progress
from ..reading.fingerprint import find_duplicates
from ..reading.open import open_slide
from ..reading.slide import TOO_LONG
from ..tissue.mask import DARK, DARK_SLIDE
from ..tissue.model import check_model
from .tile import TileResult, slide_files, tile_slide

log = logging.getLogger("mirror")
GREY_SPREAD = 6  # greatest difference between channels (0-255) of a picture without colour; JPEG adds a little
GREY_INK, GREY_SHARE = 200, 0.005  # and at least this share of its pixels is darker than this: not bare glass
OVERVIEW_PX = 1024
MEMORY_BASE, MEMORY_FLOOR = 700 << 20, 256 << 20  # bytes of the process without slides; least for each slide
COLUMNS = (
    "slide_id",
    "patient_id",
    "slide_path",
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
STOPS = {  # errors of the output folder, not of a slide: going on would only repeat them
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
}


def tile_shard(
    slides: Sequence[Mapping[str, Any]],
    settings: SlideSettings,
    out_dir: str | Path,
    status_path: str | Path,
    threads: int = 2,
) -> pd.DataFrame:
    """Tile every slide of a shard and write what became of each.

    Slides are worked on in threads, and a slide that fails is tried once more at the end (a file
    system may have hiccuped). Slides whose files are whole and up to date are left alone, so that
    a rerun does only what is missing.

    Parameters
    ----------
    slides : sequence of mapping
        ``slide_id``, ``patient_id``, ``slide_path`` and, optionally, ``mpp`` and ``mask``.
    settings : SlideSettings
        Grid and tissue detection.
    out_dir : path-like
        As for `tile_slide`.
    status_path : path-like
        The shard's status table, written last.
    threads : int
        Slides at a time.

    Returns
    -------
    DataFrame
        One row per slide, in the order given.

    Raises
    ------
    InputError
        For a slide_id that cannot be a file name or comes twice, when the output folder cannot be written, and
        for a segmentation model that no slide could be read with.
    """
    ids = [safe_name(str(row["slide_id"])) for row in slides]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise InputError(f"slide_id {twice[0]!r} comes twice", remedy="give every slide a slide_id of its own")
    tissue = settings.resolved().tissue
    if tissue.method in ("torchscript", "safetensors"):
        check_model(tissue)
    memory = max(MEMORY_FLOOR, (job_memory() - MEMORY_BASE) // max(1, threads))
    for folder in ("tiles", "qc", "contours"):
        remove_leftovers(Path(out_dir) / folder, ids)
    results: dict[str, TileResult] = {}

    def work(names: list[str], what: str) -> None:
        by_name = dict(zip(ids, slides, strict=True))
        with ThreadPoolExecutor(max(1, threads)) as pool:
            jobs = pool.map(lambda name: attempt(by_name[name], settings, out_dir, memory), names)
            try:
                for result in progress(jobs, what, total=len(names), unit="slide"):
                    results[result.slide_id] = result
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    work(ids, "tiling")
    bad = [name for name in ids if results[name].status == "failed"]
    again = [name for name in bad if TOO_LONG not in results[name].message]
    if again:
        work(again, "tiling, second try")
    for name in bad:
        if results[name].status == "failed":
            log.warning("%s failed: %s", name, results[name].message)
    rows = [results[name] for name in ids]
    for group in find_duplicates([asdict(row) for row in rows]).values():
        for name in group:
            others = ", ".join(other for other in group if other != name)
            i = next(k for k, row in enumerate(rows) if row.slide_id == name)
            note = "; ".join(part for part in (rows[i].message, f"same content as {others}") if part)
            rows[i] = replace(rows[i], message=note)
            log.warning("%s has the same content as %s", name, others)
    patients = [str(row.get("patient_id") or "") for row in slides]
    table = pd.DataFrame([{**asdict(row), "patient_id": patient} for row, patient in zip(rows, patients, strict=True)])
    table = table.reindex(columns=list(COLUMNS))
    write_tsv(status_path, table)
    counts = table["status"].value_counts()
    log.info("%d slides: %s", len(table), ", ".join(f"{n} {status}" for status, n in counts.items()))
    return table


def attempt(
    row: Mapping[str, Any], settings: SlideSettings, out_dir: str | Path, memory: int | None = None
) -> TileResult:
    """Tile one slide; any failure of the slide becomes a row, one of the output folder is raised."""
    name, path, mpp = safe_name(str(row["slide_id"])), str(row.get("slide_path") or ""), row.get("mpp")
    if not path.strip():  # as a path it would be the working folder
        problem, remedy = "slide_path is empty in the sample table", "name the slide file there"
        return failed(name, path, str(InputError(problem, row=f"slide_id {name}", remedy=remedy)), out_dir)
    try:
        known = None if mpp in (None, "") else float(mpp)
        result = tile_slide(path, name, out_dir, settings, known, memory, row.get("mask") or None)
        method = settings.resolved().tissue.method
        if result.status == "empty" and method == "default" and lacks_colour(path, settings):
            note = "the picture has no colour (greyscale), and tissue is found by its colour"
            return replace(result, message=f"{result.message}; {note}")
        return result
    except InputError as error:
        return failed(name, path, str(error), out_dir)
    except OSError as error:
        if error.errno in STOPS and not _is_of(error, path):
            where = error.filename or out_dir
            raise InputError(
                STOPS[error.errno], file=where, remedy="free disk space or correct the permissions, then run again"
            ) from error
        return failed(name, path, f"{path}: {error.strerror or error}", out_dir)
    except MemoryError:
        return failed(name, path, f"{path}: not enough memory for this slide", out_dir)
    except Exception as error:  # a library's own failure on one file must not end the others
        log.exception("%s", name)
        return failed(name, path, f"{path}: {type(error).__name__}: {error}", out_dir)


def lacks_colour(path: str, settings: SlideSettings) -> bool:
    """Whether a slide shows something, but all of it in grey; black (told apart elsewhere) is not meant."""
    with open_slide(path, settings.backend) as slide:
        slide.deadline = time.monotonic() + 60 * settings.max_minutes
        rgb = slide.overview(max(1.0, max(slide.bounds[2:]) / OVERVIEW_PX))
    high, low = rgb.max(axis=2), rgb.min(axis=2)
    shows = float(np.mean(low < GREY_INK)) >= GREY_SHARE and float(np.mean(high < DARK)) <= DARK_SLIDE
    return shows and int((high - low).max()) <= GREY_SPREAD


def failed(name: str, path: str, message: str, out_dir: str | Path) -> TileResult:
    """Say that a slide failed, and leave no older tiles of it behind."""
    slide_files(out_dir, name)[0].unlink(missing_ok=True)
    return TileResult(name, path, "failed", message=" ".join(message.split()))


def remove_leftovers(folder: Path, names: Sequence[str]) -> None:
    """Remove the unfinished files that a killed run of these slides left."""
    known = set(names)
    for part in folder.glob(f".*{PART}*") if folder.is_dir() else ():
        # .{slide}.{pid}.part{suffix}
        if part.name[1:].rsplit(PART, 1)[0].rpartition(".")[0] in known:
            part.unlink(missing_ok=True)


def _is_of(error: OSError, slide_path: str) -> bool:
    """Whether an error is about the slide file, not about an output."""
    return error.filename is not None and str(error.filename) == slide_path
