"""Features that others made, written in our form: one HDF5 file a slide."""

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
from ..core.names import safe_name
from ..io.features import check_finite, is_complete, write_features
from ..readers.features import clam, stamp, trident
from ..readers.features import pt as tensors
from ..readers.features.base import ForeignError, ForeignSlide, match_slides

log = logging.getLogger("mirror.import")
COLUMNS = ("slide_id", "patient_id", "status", "n_tiles", "width", "message", "fingerprint")
_FIND = {"trident": trident.find_files, "clam": clam.find_files, "stamp": stamp.find_files, "pt": tensors.find_files}


def import_features(
    source: FeatureSource,
    slides: Sequence[Mapping[str, Any]],
    folder: str | Path,
    mpp_of: Callable[[Mapping[str, Any]], float | None] | None = None,
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
        Gives a slide's micrometres a pixel, which STAMP's coordinates need; the table's column
        ``mpp`` where not given.

    Returns
    -------
    DataFrame
        One row a slide, columns `COLUMNS`; status is ok, empty or failed.

    Raises
    ------
    InputError
        The folder is missing or has no such files, or the disk is full.
    """
    root = Path(source.path).expanduser()
    if not root.is_dir():
        raise InputError("no folder of features here", file=root, remedy="correct features: path")
    files = _FIND[source.format](root, source.encoder)
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
                raise ForeignError("no matching name", found, file=root)
            mpp = mpp_of(slide) if mpp_of and source.format == "stamp" else slide.get("mpp")
            row |= _import_one(source, slide_id, found, Path(folder), mpp)
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
    return pd.DataFrame(rows, columns=COLUMNS)


def _read(source: FeatureSource, path: Path, mpp: float | None) -> ForeignSlide:
    if source.format == "stamp":
        return stamp.read_slide(path, mpp)
    return {"trident": trident, "clam": clam, "pt": tensors}[source.format].read_slide(path)


def _import_one(source: FeatureSource, slide_id: str, path: Path, folder: Path, mpp: float | None) -> dict[str, Any]:
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
        raise ForeignError("NaN or infinity", error.problem, file=path) from error
    coords, attrs = slide.coords, {**slide.attrs, "name": slide_id}
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
    message = "; ".join(slide.notes)
    return {"status": "ok" if n else "empty", "n_tiles": n, "message": message, "fingerprint": mark}
