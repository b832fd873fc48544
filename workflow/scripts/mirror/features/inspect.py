"""Imported features looked at before anything runs: names, shapes, the size of tiles, a few vectors of each slide."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from ..config.sources import FeatureSource
from ..core.errors import InputError
from ..core.facts import Facts
from ..core.regular_file import require_regular
from ..io.features import COORD_ATTRS
from ..io.hdf5 import open_h5, read_array
from ..readers.features import FINDERS, clam, stamp, trident
from ..readers.features.base import ForeignError, ForeignSlide, attributes, match_slides, no_dataset
from ..readers.features.compare import COLUMNS as COMPARED
from ..readers.features.compare import signature
from ..readers.features.plausible import tile_um
from .account import check_scales, compare_slides

LOOKED_AT = 256
"""Vectors of each slide that are read."""
CHUNK_BYTES = 1 << 28


def inspect_features(source: FeatureSource, slides: Sequence[Mapping[str, Any]], facts: Facts) -> None:
    """Look at the features of every slide of a cohort: headers, coordinates and the first vectors.

    Parameters
    ----------
    source : FeatureSource
        Where they are.
    slides : sequence of mapping
        Rows of the slide table: slide_id, patient_id, slide_path, mpp.
    facts : Facts
        Gets how many slides have features, what is wrong with the others by kind, and the size of tiles.

    Raises
    ------
    InputError
        The folder is missing or has no such files, or none of them can be read.
    """
    root = Path(source.path).expanduser()
    if not root.is_dir():
        raise InputError("no folder of features here", file=root, remedy="correct features: path")
    files = FINDERS[source.format](root, source.encoder)
    if not files:
        raise InputError(f"no {source.format} features in this folder", file=root, remedy="correct features: format")
    faults: dict[str, list[str]] = defaultdict(list)
    rows = []
    for slide_id, found in match_slides(slides, files).items():
        try:
            if isinstance(found, str):
                raise ForeignError(getattr(found, "kind", "no matching name"), str(found), file=root)
            mpp = next((slide.get("mpp") for slide in slides if str(slide["slide_id"]) == slide_id), None)
            rows.append({"slide_id": slide_id, "status": "ok", **_peek(source, found, mpp)})
        except InputError as error:
            faults[getattr(error, "kind", "unreadable files")].append(f"{slide_id}: {error}")
    facts.note("slides with features", f"{len(rows)} of {len(slides)}", str(root))
    for kind, said in faults.items():
        facts.warn(kind, f"{len(said)} of {len(slides)} slides, the first {said[0]}", f"{source.encoder} features")
    if faults and not rows:  # a run would stop there; doctor says so before
        first = next(iter(faults.values()))[0]
        raise InputError(f"no slide has features that can be read: {first}", file=root, remedy="correct the files")
    table = pd.DataFrame(rows, columns=["slide_id", "status", "tile_um", *COMPARED])
    compare_slides(source.encoder, table, facts)
    check_scales(table, facts, "warn")


def _peek(source: FeatureSource, path: Path, mpp: float | None) -> dict[str, Any]:
    """Return the side of a slide's tiles in micrometres, None where unknown, and the signature of its first vectors."""
    if path.suffix == ".pt":
        require_regular(path, "feature file")
        about = clam.patches_about(path) if source.format == "clam" else {}
        return {"tile_um": tile_um(ForeignSlide(np.empty((0, 0)), None, about), mpp), "order": ""}
    name = "feats" if source.format == "stamp" else "features"
    with open_h5(path) as file:
        if not isinstance(file.get(name), h5py.Dataset):
            raise no_dataset(file, name, path)
        shape = file[name].shape
        if len(shape) >= 2 and shape[-2] and shape[-1] != source.width:
            raise ForeignError("wrong width", f"features {shape[-1]} wide, the config says {source.width}", file=path)
        if len(shape) < 2 and shape != (0,):
            raise ForeignError("slide-level vectors", f"one vector of {shape}, not patch features", file=path)
        coords = file.get("coords")
        about, of_file = attributes(coords) if coords is not None else {}, attributes(file)
        try:
            exact = read_array(coords, path) if isinstance(coords, h5py.Dataset) else np.empty((0, 2))
            exact = np.asarray(exact, np.float64)
            exact = exact.reshape(-1, 2) if exact.size % 2 == 0 else np.empty((0, 2))
            described = signature(_first(file[name]), exact)
        except (OSError, ValueError, TypeError) as error:
            raise ForeignError("unreadable files", f"cannot be read ({error})", file=path) from error
        if source.format == "stamp":
            return {"tile_um": stamp.unit(of_file, exact)[1], **described}
    if source.format == "clam":
        about = clam.patches_about(path)
    else:
        about = trident.complete(path, {key: about.get(key) for key in COORD_ATTRS})
    return {"tile_um": tile_um(ForeignSlide(np.empty((0, 0)), None, about), mpp), **described}


def _first(dataset: h5py.Dataset) -> np.ndarray:
    """Read the first vectors of a slide, (n, D); none where they are no numbers or lie in one huge chunk."""
    chunk = math.prod(dataset.chunks or (1,)) * dataset.dtype.itemsize
    batch = dataset.ndim == 3 and dataset.shape[0] == 1
    if dataset.dtype.kind != "f" or not (dataset.ndim == 2 or batch) or chunk > CHUNK_BYTES:
        return np.empty((0, 1), np.float32)
    return np.asarray(dataset[0, :LOOKED_AT] if batch else dataset[:LOOKED_AT])
