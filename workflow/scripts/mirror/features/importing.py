"""Features that others made, written in our form: one HDF5 file per slide."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..config.sources import FeatureSource
from ..core.atomic import disk_is_full
from ..core.errors import InputError
from ..core.facts import Facts
from ..core.names import safe_name
from ..io.features import check_finite, is_complete, write_features
from ..readers.features import FINDERS, clam, stamp, trident
from ..readers.features import pt as tensors
from ..readers.features.base import ForeignError, ForeignSlide, match_slides
from ..readers.features.compare import signature
from ..readers.features.plausible import doubts, tile_um
from .account import COLUMNS, note_features

log = logging.getLogger("mirror.import")


def import_features(
    source: FeatureSource,
    slides: Sequence[Mapping[str, Any]],
    folder: str | Path,
    mpp_of: Callable[[Mapping[str, Any]], float | None] | None = None,
    facts: Facts | None = None,
    size_of: Callable[[Mapping[str, Any]], tuple[int, int] | None] | None = None,
) -> pd.DataFrame:
    """Convert the features of some slides to ``features/{encoder}/{slide}.h5``.

    Tiles are put in row-major order (top to bottom, then left to right). Values are kept in the
    type they were stored in.

    Parameters
    ----------
    source : FeatureSource
        Format, folder, width and the encoder's name.
    slides : sequence of mapping
        Rows of the slide table: slide_id, patient_id, slide_path, mpp.
    folder : path-like
        ``results/slides``.
    mpp_of : callable, optional
        Gives a slide's micrometres per pixel, which STAMP's coordinates and the comparison of tile sizes
        need; the table's column ``mpp`` where not given.
    facts : Facts, optional
        Gets what was read as what, and what contradicts it.
    size_of : callable, optional
        Gives a slide's width and height at level 0 where the slide is at hand, to compare the coordinates with.

    Returns
    -------
    DataFrame
        One row per slide, columns `COLUMNS`; status is ok, empty or failed.

    Raises
    ------
    InputError
        The folder is missing or has no such files, the disk is full, or tiles of several sizes are refused
        (``mixed_scales: error``).
    """
    facts = Facts(source.path) if facts is None else facts
    root = Path(source.path).expanduser()
    if not root.is_dir():
        raise InputError("no folder of features here", file=root, remedy="correct features: path")
    files = FINDERS[source.format](root, source.encoder)
    if not files:
        raise InputError(f"no {source.format} features in this folder", file=root, remedy="correct features: format")
    matched = match_slides(slides, files)
    faults: dict[str, list[str]] = defaultdict(list)
    rows = []
    for slide in slides:
        slide_id, found = str(slide["slide_id"]), matched[str(slide["slide_id"])]
        row = {"slide_id": slide_id, "patient_id": slide.get("patient_id", ""), "width": source.width}
        try:
            if isinstance(found, str):
                raise ForeignError(getattr(found, "kind", "no matching name"), str(found), file=root)
            mpp = mpp_of(slide) if mpp_of else slide.get("mpp")
            row |= _import_one(source, slide_id, found, Path(folder), mpp, size_of(slide) if size_of else None)
        except InputError as error:
            row |= {"status": "failed", "n_tiles": 0, "message": str(error), "fingerprint": ""}
            faults[getattr(error, "kind", "unreadable files")].append(slide_id)
        except Exception as error:  # what other tools write has no bounds: this slide fails, the others go on
            if disk_is_full(error):  # HDF5 says so by a RuntimeError too
                raise InputError("no space is left on the disk", file=folder, remedy="free space, run again") from error
            if isinstance(error, OSError):
                said = f"{found}: {error}"
            else:
                log.exception("%s: features could not be imported", slide_id)
                said = f"{found}: {type(error).__name__}: {error}".splitlines()[0]
            row |= {"status": "failed", "n_tiles": 0, "message": said, "fingerprint": ""}
            faults["unreadable files"].append(slide_id)
        if row["status"] == "empty":
            faults["empty slides"].append(slide_id)
        rows.append(row)
    for kind, ids in faults.items():
        log.warning("%s features: %s: %d of %d slides, first %s", source.encoder, kind, len(ids), len(rows), ids[0])
    unused = len(files) - len({found for found in matched.values() if isinstance(found, Path)})
    log.info("%s features: %d files read, %d more in the folder", source.encoder, len(files) - unused, unused)
    table = pd.DataFrame(rows, columns=COLUMNS)
    note_features(source, table, facts)
    facts.log(log)
    for kind, ids in faults.items():  # logged above
        facts.warn(kind, f"{len(ids)} of {len(rows)} slides, first {ids[0]}", f"{source.encoder} features")
    return table


def _read(source: FeatureSource, path: Path, mpp: float | None) -> ForeignSlide:
    if source.format == "stamp":
        return stamp.read_slide(path, mpp)
    return {"trident": trident, "clam": clam, "pt": tensors}[source.format].read_slide(path)


def _import_one(
    source: FeatureSource, slide_id: str, path: Path, folder: Path, mpp: float | None, size: tuple[int, int] | None
) -> dict[str, Any]:
    """Convert one slide, unless that was done from this very file; return its row."""
    out = folder / "features" / source.encoder / f"{safe_name(slide_id)}.h5"
    mpp = None if mpp is None or not np.isfinite(mpp) else float(mpp)
    slide = _read(source, path, mpp)
    n, width = slide.features.shape
    if n and width != source.width:
        raise ForeignError("wrong width", f"features {width} wide, the config says {source.width}", file=path)
    features = slide.features if n else np.empty((0, source.width), np.float32)
    try:
        check_finite(features, path)
    except InputError as error:
        if features.dtype == np.float16 and np.isinf(features).any():
            raise ForeignError(
                "half-precision overflow",
                f"{error.problem}: values beyond 65504 became infinite in float16",
                file=path,
                remedy="extract the features in float32 or bfloat16",
            ) from error
        raise ForeignError("NaN or infinity", error.problem, file=path) from error
    coords, attrs = slide.coords, {**slide.attrs, "name": slide_id}
    described = signature(features, coords)  # before tiles are put in order
    if coords is not None:
        order = np.lexsort((coords[:, 0], coords[:, 1]))
        features, coords = features[order], coords[order]
    digest = hashlib.sha256(np.ascontiguousarray(features).data)
    mark = digest.hexdigest()[:32]
    digest.update(b"" if coords is None else np.ascontiguousarray(coords).data)
    digest.update(repr((source.format, source.width, sorted(attrs.items(), key=str))).encode())
    wanted = digest.hexdigest()[:32]
    if not is_complete(out, settings_hash=wanted):
        write_features(
            out,
            features,
            coords,
            encoder=source.encoder,
            dtype=str(features.dtype),
            coord_attrs=attrs,
            attrs={"fingerprint": mark, "settings_hash": wanted, "source": source.format}
            | ({} if mpp is None else {"mpp": mpp}),
        )
    doubtful = doubts(slide, size)
    message = "; ".join([*slide.notes, *doubtful])
    row = {"status": "ok" if n else "empty", "n_tiles": n, "message": message, "fingerprint": mark}
    return row | {"tile_um": tile_um(slide, mpp), "doubts": "; ".join(doubtful), **described}
