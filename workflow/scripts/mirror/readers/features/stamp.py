"""STAMP: ``{slide}.h5`` with ``feats`` and coordinates in micrometres."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.errors import InputError
from .base import ForeignError, ForeignSlide, as_coords, list_files, read_dataset


def find_files(root: Path, encoder: str) -> dict[str, Path]:
    """Find the files of a folder, or of the only folder in it that begins with the encoder's name."""
    inner = [p for p in sorted(root.glob(f"{encoder}-*")) if p.is_dir()]
    own = list_files(root, ".h5")
    if len(inner) > 1 and not own:
        raise InputError(
            f"{len(inner)} folders begin with {encoder}: {', '.join(p.name for p in inner)}",
            file=root,
            remedy="name one of them in features: path",
        )
    folder = inner[0] if len(inner) == 1 else root
    return list_files(folder, ".h5")


def read_slide(path: Path, mpp: float | None) -> ForeignSlide:
    """Read one slide.

    Parameters
    ----------
    path : Path
        The file.
    mpp : float or None
        Micrometres a level-0 pixel of the slide; without it the coordinates cannot be placed and
        are left out.
    """
    features, coords, _, about = read_dataset(path, "feats")
    kind, unit = about.get("feat_type", "tile"), about.get("unit", "um")
    if kind not in ("tile", None):
        raise ForeignError("slide-level vectors", f"feat_type is {kind}, expected tile", file=path)
    if coords is None:
        return ForeignSlide(features, None, notes=("no coordinates",))
    if unit != "um":
        raise ForeignError("wrong form", f"coordinates in {unit}, expected um", file=path)
    if mpp is None:
        note = "coordinates left out: they are in micrometres and the slide's mpp is unknown (fill the column mpp)"
        return ForeignSlide(features, None, notes=(note,))
    attrs = {"patch_size": about.get("tile_size_px"), "name": path.stem}
    if about.get("tile_size_um"):
        attrs["patch_size_level0"] = round(about["tile_size_um"] / mpp)
    return ForeignSlide(features, as_coords(np.asarray(coords, np.float64) / mpp, len(features), path), attrs)
