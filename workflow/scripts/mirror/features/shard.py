"""Patch features of a shard of slides: one encoder, one slide's fault never another's."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ..config.slides import EmbedSettings
from ..core.atomic import disk_is_full
from ..core.errors import InputError
from ..core.names import safe_name
from ..core.progress import progress
from ..encoders.run import TileEncoder
from .embed import EmbedResult, SlideJob, embed_slide

log = logging.getLogger("mirror.embed")
COLUMNS = ("slide_id", "patient_id", "status", "n_tiles", "width", "message", "fingerprint")
_ATTEMPTS = 2


def one_line(error: BaseException) -> str:
    """Say an error in one line, without tabs."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def embed_shard(
    slides: Sequence[Mapping[str, Any]],
    tiled: pd.DataFrame,
    folder: str | Path,
    encoder: TileEncoder,
    settings: EmbedSettings,
    threads: int = 2,
) -> pd.DataFrame:
    """Write the features of every slide of a shard that has tiles.

    Slides whose features are whole are left alone. A slide that fails is tried once more, then
    noted, and the others go on. While the encoder works on the end of one slide, the next is read.

    Parameters
    ----------
    slides : sequence of mapping
        ``slide_id``, ``patient_id``, ``slide_path`` of each slide.
    tiled : DataFrame
        The tiling step's table of the same slides: slide_id, status, message.
    folder : path-like
        Holds ``tiles/{slide}.h5`` and gets ``features/{encoder}/{slide}.h5``.
    encoder : TileEncoder
        The encoder, loaded.
    settings : EmbedSettings
        Settings.
    threads : int
        Reading threads where the settings leave them open.

    Returns
    -------
    DataFrame
        One row per slide, columns `COLUMNS`; status is ok, empty or failed.

    Raises
    ------
    InputError
        The disk is full, or the encoder does not fit into memory: no slide could go on.
    """
    folder, name = Path(folder), encoder.row.name
    before = tiled.set_index("slide_id")
    jobs: dict[str, SlideJob] = {}
    results: dict[str, EmbedResult] = {}
    for slide in slides:
        slide_id = safe_name(str(slide["slide_id"]))
        why = _not_tiled(before, slide_id)
        if why:
            results[slide_id] = EmbedResult(slide_id, "failed", 0, encoder.row.width, why)
            continue
        tiles = folder / "tiles" / f"{slide_id}.h5"
        out = folder / "features" / name / f"{slide_id}.h5"
        jobs[slide_id] = SlideJob(slide_id, Path(slide["slide_path"]), tiles, out, encoder, settings, threads)
    order = list(jobs.values())
    try:
        for i, job in enumerate(progress(order, f"Features by {name}", unit="slide")):
            results[job.slide_id] = _attempt(job, order[i + 1] if i + 1 < len(order) else None)
    finally:
        for job in order:
            job.close()
    rows = [asdict(results[safe_name(str(s["slide_id"]))]) | {"patient_id": s.get("patient_id", "")} for s in slides]
    return pd.DataFrame(rows, columns=COLUMNS)


def _not_tiled(before: pd.DataFrame, slide_id: str) -> str:
    """Why a slide has no tile file; empty where it has one."""
    if slide_id not in before.index:
        return "not tiled: the tiling step's table does not have this slide"
    row = before.loc[slide_id]
    return f"not tiled: {row.get('message', '')}" if row["status"] == "failed" else ""


def _attempt(job: SlideJob, following: SlideJob | None) -> EmbedResult:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return embed_slide(job, None if following is None else lambda: _look_ahead(following))
        except Exception as error:
            job.close()
            if disk_is_full(error):
                raise InputError(
                    "no space is left on the disk",
                    file=job.out,
                    remedy="free space and run again; finished slides are kept",
                ) from error
            if isinstance(error, InputError) and error.row == job.encoder.row.name:
                raise  # the encoder's own fault: no slide would fare better
            line = one_line(error)
            if attempt == _ATTEMPTS:
                log.error("%s failed: %s", job.slide_id, line)
                return EmbedResult(job.slide_id, "failed", 0, job.encoder.row.width, line)
            log.warning("%s: %s (trying once more)", job.slide_id, line)
    raise AssertionError("unreachable")


def _look_ahead(job: SlideJob) -> None:
    """Start to read a slide that will be embedded next; what is wrong with it shows when it is its turn."""
    try:
        if len(job.table) and not job.settings.share_dir and not job.is_done():
            job.start_reading()
    except InputError:
        return
