"""CLAM: ``h5_files/{slide}.h5`` or ``pt_files/{slide}.pt``; the tile's size only in ``patches/{slide}.h5``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...io.hdf5 import open_h5, read_array
from .base import ForeignSlide, as_coords, as_features, attributes, list_files, read_dataset
from .pt import load_tensors, to_numpy


def find_files(root: Path, encoder: str) -> dict[str, Path]:
    """Find one file per slide, the HDF5 one where there are both."""
    files = list_files(root / "pt_files", ".pt") | list_files(root / "h5_files", ".h5")
    return files or list_files(root, ".pt") | list_files(root, ".h5")


def read_slide(path: Path) -> ForeignSlide:
    """Read one slide; coordinates of a ``.pt`` file are those of its patches file, if there are as many."""
    where, about, lacking = _patches(path)
    if path.suffix == ".pt":
        features, coords = as_features(to_numpy(load_tensors(path), path), path), where
        if coords is not None and len(coords) != len(features):
            coords = None
    else:
        features, coords, _, _ = read_dataset(path, "features")
    notes = () if about.get("patch_size_level0") else (f"tile size unknown: {lacking}",)
    if coords is None:
        return ForeignSlide(features, None, about, ("no coordinates", *notes))
    return ForeignSlide(features, as_coords(coords, len(features), path), about, notes)


def patches_about(path: Path) -> dict[str, Any]:
    """Return what the patches file of a slide says about its tiles."""
    return _patches(path)[1]


def _patches(path: Path) -> tuple[np.ndarray | None, dict[str, Any], str]:
    """Coordinates and attributes in the patches file of a slide, which lies beside or above the features.

    Third comes what keeps the tile's size unknown, empty where it is known.
    """
    for up in list(path.parents)[:3]:
        file = up / "patches" / f"{path.stem}.h5"
        if file.is_file():
            with open_h5(file, "patches") as opened:
                if "coords" not in opened:
                    return None, {"name": path.stem}, f"{file} has no coords"
                coords, raw = read_array(opened["coords"], file), opened["coords"].attrs
                about = attributes(opened["coords"])
                # Its patch_size is in pixels of patch_level, whose downsample is (x, y).
                downsample = float(np.asarray(raw.get("downsample", np.nan)).reshape(-1)[0])
                if about.get("patch_level") == 0:
                    downsample = 1.0
                size = about.get("patch_size")
                known = {"patch_size": size, "name": path.stem}
                if size and np.isfinite(downsample):
                    known["patch_size_level0"] = round(size * downsample)
                    return coords, known, ""
                return coords, known, f"the coords of {file} have no {'downsample' if size else 'patch_size'}"
    return None, {"name": path.stem}, f"no patches/{path.stem}.h5 beside the features"
