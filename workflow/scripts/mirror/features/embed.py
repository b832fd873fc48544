"""Patch features of one slide: read, decode, score focus, encode, write, all at the same time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import openslide

from ..config.slides import EmbedSettings
from ..core.atomic import PART
from ..core.code_hash import code_hash
from ..core.errors import InputError
from ..encoders.run import TileEncoder
from ..io.features import FeatureWriter, is_complete
from ..io.tiles import TileTable, read_tiles
from ..slides.reading.fingerprint import fingerprint
from ..slides.reading.iterate import iterate_tiles
from .focus import focus_score
from .read_ahead import ReadAhead
from .share import KEY, FeatureShare, hash_facts

log = logging.getLogger("mirror.embed")
# Tiles read at a time take at most this much, so that memory is the same for 256 and 1024 px tiles.
_BATCH_BYTES = 64 << 20
_STALE_S = 600
LIBRARIES = ("imagecodecs", "pillow", "pydicom", "simplejpeg", "tifffile", "timm", "torch")
_CARRIED = ("mpp", "mpp_source", "mpp_target")


@dataclass(frozen=True)
class EmbedResult:
    """What became of a slide: a row of the shard's table."""

    slide_id: str
    status: str
    n_tiles: int
    width: int
    message: str = ""
    fingerprint: str = ""


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that decode and resize pixels and run the encoder."""
    named = {name: version(name).split("+")[0] for name in LIBRARIES}
    # pip and conda name these two differently, or have a library of another version below the bindings
    return named | {"cv2": cv2.__version__, "openslide": openslide.__library_version__}


@cache
def code_version() -> str:
    """Hash of the code that turns a slide into features, and of the libraries that it uses for it."""
    return hash_facts(code_hash(Path(__file__)), library_versions())


def tiles_hash(tiles: TileTable) -> str:
    """Hash of the tiles themselves and of the settings that gave them."""
    places = hashlib.sha256(np.ascontiguousarray(tiles.coords, np.int64).data).hexdigest()
    sizes = [float(tiles.grid[key]) for key in ("patch_size", "patch_size_level0")]
    return hash_facts(places, sizes, str(tiles.info.get("settings_hash", "")))


def tile_backend(tiles: TileTable) -> str:
    """How the tiling settings say that pixels are read: auto or openslide."""
    try:
        return str(json.loads(tiles.info["settings"]).get("backend", "auto"))
    except (KeyError, TypeError, ValueError):  # tiles of another tool
        return "auto"


def features_hash(tiles: TileTable, encoder: TileEncoder, settings: EmbedSettings) -> str:
    """Hash of everything asked for: tiles, how they are read, encoder with its weights, stored type, precision."""
    return hash_facts(tiles_hash(tiles), tile_backend(tiles), encoder.identity, settings.dtype, settings.precision)


@dataclass
class SlideJob:
    """One slide on its way: what is asked for, and the thread that reads it ahead.

    Parameters
    ----------
    slide_id : str
        Its name.
    slide_path, tiles, out : Path
        The slide, its tile file, and where the features go.
    encoder : TileEncoder
        The encoder.
    settings : EmbedSettings
        Settings.
    threads : int
        Reading threads where the settings leave them open.
    """

    slide_id: str
    slide_path: Path
    tiles: Path
    out: Path
    encoder: TileEncoder
    settings: EmbedSettings
    threads: int = 2
    _ahead: ReadAhead | None = field(default=None, init=False, repr=False)

    @cached_property
    def table(self) -> TileTable:
        """The tile file, read once."""
        table = read_tiles(self.tiles)
        missing = [key for key in ("patch_size", "patch_size_level0") if key not in table.grid]
        if missing:
            raise InputError(f"coords lack the attributes {', '.join(missing)}", file=self.tiles)
        return table

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the slide that was tiled."""
        return str(self.table.info.get("fingerprint", ""))

    def is_done(self) -> bool:
        """Whether the features asked for are there, of the slide that was tiled."""
        wanted = features_hash(self.table, self.encoder, self.settings)
        return is_complete(self.out, settings_hash=wanted, fingerprint=self.fingerprint)

    def check_slide(self) -> None:
        """Raise an `InputError` where the slide is not the one that was tiled."""
        try:
            now = fingerprint(self.slide_path)
        except OSError as error:
            problem = f"the slide cannot be read ({error.strerror or error})"
            raise InputError(problem, file=self.slide_path, remedy="correct slide_path") from error
        if now != self.fingerprint:
            raise InputError(
                "the slide was replaced after it was tiled",
                file=self.slide_path,
                remedy="tile it again (--forcerun tile_slides)",
            )

    def start_reading(self) -> ReadAhead:
        """Begin to read ahead, once."""
        if self._ahead is None:
            table = self.table
            size_px, size_level0 = int(table.grid["patch_size"]), float(table.grid["patch_size_level0"])
            batch = max(1, min(self.encoder.batch_size, _BATCH_BYTES // (size_px**2 * 3)))
            threads, backend = self.settings.readers or self.threads, tile_backend(table)
            self._ahead = ReadAhead(
                lambda: iterate_tiles(self.slide_path, table.coords, size_level0, size_px, threads, batch, backend),
                focus_score,
                self.encoder.pinned,
            )
        return self._ahead

    def close(self) -> None:
        """End reading, also in the middle."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None


def embed_slide(job: SlideJob, when_read: Callable[[], None] | None = None) -> EmbedResult:
    """Write the patch features of one slide.

    Parameters
    ----------
    job : SlideJob
        The slide.
    when_read : callable, optional
        Called once when the last tile has been read and the encoder still works: the moment to
        start reading the next slide.

    Returns
    -------
    EmbedResult
        ``ok``, or ``empty`` for a slide without tiles (features of shape (0, D) are written).

    Raises
    ------
    InputError
        The slide was replaced after tiling, cannot be read, or gives features that cannot be stored.
    """
    table, encoder = job.table, job.encoder
    n, width = len(table), encoder.row.width

    result = EmbedResult(job.slide_id, "ok" if n else "empty", n, width, "", job.fingerprint)
    if job.is_done():
        if job.slide_path.exists():
            job.check_slide()
        return result
    job.check_slide()
    wanted = features_hash(table, encoder, job.settings)
    attrs = {"encoder": encoder.row.name, "fingerprint": job.fingerprint, "settings_hash": wanted}
    attrs |= {"precision": encoder.precision} | {key: table.info[key] for key in _CARRIED if key in table.info}
    share, key = None, ""
    if job.settings.share_dir:
        share = FeatureShare(job.settings.share_dir)
        key = hash_facts(job.fingerprint, wanted, encoder.row.name, encoder.precision, code_version())
        attrs[KEY] = key
        if share.get(key, job.out, str(table.grid.get("name", job.slide_id))):
            log.info("%s: features shared by another project", job.slide_id)
            return result
    _remove_leftovers(job.out)
    writer = FeatureWriter(job.out, table.coords, width, dtype=job.settings.dtype, coord_attrs=table.grid, attrs=attrs)
    with writer:
        if n:
            _encode_into(writer, job, when_read)
        job.check_slide()
    if share is not None:
        share.put(key, job.out)
    return result


def _remove_leftovers(out: Path) -> None:
    """Remove what a killed job left of this file; a part that changed lately may be another job's at work."""
    name = re.compile(rf"\.{re.escape(out.stem)}\.\d+{re.escape(PART + out.suffix)}")
    for part in out.parent.glob(".*") if out.parent.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            if name.fullmatch(part.name) and time.time() - part.stat().st_mtime > _STALE_S:
                part.unlink()


def _encode_into(writer: FeatureWriter, job: SlideJob, when_read: Callable[[], None] | None) -> None:
    ahead = job.start_reading()
    try:
        for features in job.encoder.encode(ahead):
            if when_read is not None and ahead.read:
                when_read()
                when_read = None
            rows, focus = ahead.taken.popleft()
            writer.write(rows, features, focus)
    finally:
        job.close()
