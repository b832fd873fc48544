"""Imported features looked at before anything runs: names, shapes and the size of tiles, without reading the data."""

from __future__ import annotations

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
from ..io.hdf5 import open_h5
from ..readers.features import FINDERS, clam, stamp, trident
from ..readers.features.base import ForeignError, ForeignSlide, attributes, match_slides, no_dataset
from ..readers.features.plausible import tile_um
from .account import check_scales


def inspect_features(source: FeatureSource, slides: Sequence[Mapping[str, Any]], facts: Facts) -> None:
    """Look at the features of every slide of a cohort; headers alone are read.

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
        The folder is missing or has no such files.
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
            rows.append((slide_id, "ok", _peek(source, found, mpp)))
        except InputError as error:
            faults[getattr(error, "kind", "unreadable files")].append(f"{slide_id}: {error}")
    facts.note("slides with features", f"{len(rows)} of {len(slides)}", str(root))
    for kind, said in faults.items():
        facts.warn(kind, f"{len(said)} of {len(slides)} slides, the first {said[0]}", f"{source.encoder} features")
    check_scales(pd.DataFrame(rows, columns=["slide_id", "status", "tile_um"]), facts, "warn")


def _peek(source: FeatureSource, path: Path, mpp: float | None) -> float | None:
    """Return the side of a slide's tiles in micrometres from the file's header, None where unknown."""
    if path.suffix == ".pt":
        require_regular(path, "feature file")
        about = clam.patches_about(path) if source.format == "clam" else {}
        return tile_um(ForeignSlide(np.empty((0, 0)), None, about), mpp)
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
        if source.format == "stamp":
            exact = np.asarray(coords[()], np.float64) if coords is not None else np.empty((0, 2))
            return stamp.unit(of_file, exact.reshape(-1, 2))[1] if exact.size % 2 == 0 else None
    if source.format == "clam":
        about = clam.patches_about(path)
    else:
        about = trident.complete(path, {key: about.get(key) for key in COORD_ATTRS})
    return tile_um(ForeignSlide(np.empty((0, 0)), None, about), mpp)
