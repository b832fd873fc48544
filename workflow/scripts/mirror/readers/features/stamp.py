"""STAMP: ``{slide}.h5`` with ``feats`` and coordinates whose unit depends on the version that wrote them.

====================  =====================================  =================================
version               attributes of the file                 coordinates
====================  =====================================  =================================
2.1 and later         ``tile_size_um``                       micrometres
2.0                   ``tile_size`` and ``unit`` = ``um``     micrometres
1                     ``tile_size`` of 224, or none at all   units of 256 um / 224
====================  =====================================  =================================

These are the rules by which STAMP reads its own files (``get_coords`` in ``stamp/modeling/data.py``). A file to
which none applies keeps its features and loses its coordinates, with a note.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import InputError
from .base import ForeignError, ForeignSlide, as_coords, list_files, read_dataset, stride

HISTORIC_PX, HISTORIC_UM = 224, 256.0


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
    kind, stated = about.get("feat_type", "tile"), about.get("unit")
    if kind not in ("tile", None):
        raise ForeignError("slide-level vectors", f"feat_type is {kind}, expected tile", file=path)
    if coords is None:
        return ForeignSlide(features, None, notes=("no coordinates",))
    historic = about.get("tile_size") == HISTORIC_PX and stated in (None, "px")
    if stated not in (None, "um") and not historic:
        raise ForeignError("wrong form", f"coordinates in {stated}, expected um", file=path)
    exact = np.asarray(coords, np.float64)
    as_coords(exact, len(features), path)  # their number and whether they are numbers at all
    scale, tile_um, notes = unit(about, exact.reshape(-1, 2))
    if scale is None:
        return ForeignSlide(features, None, notes=(f"coordinates left out: {notes}",))
    noted = (notes,) if notes else ()
    if mpp is None:
        note = "coordinates left out: they are in micrometres and the slide's mpp is unknown (fill the column mpp)"
        return ForeignSlide(features, None, notes=(*noted, note), tile_um=tile_um)
    attrs: dict[str, Any] = {"patch_size": about.get("tile_size_px"), "name": path.stem}
    if scale != 1.0:
        attrs["patch_size"] = HISTORIC_PX
    if tile_um:
        attrs["patch_size_level0"] = round(tile_um / mpp)
    placed = as_coords(exact * (scale / mpp), len(features), path)
    return ForeignSlide(features, placed, attrs, noted, tile_um)


def unit(about: dict[str, Any], coords: np.ndarray) -> tuple[float | None, float | None, str]:
    """Return micrometres per unit (None: unknown), the side of a tile in micrometres, and a note.

    Parameters
    ----------
    about : dict
        Attributes of the file.
    coords : (N, 2) float array
        As stored.
    """
    step = stride(coords)
    size = about.get("tile_size") if about.get("unit") == "um" else None
    size = size or about.get("tile_size_um")
    if size:
        size = float(size)
        # STAMP's tiles do not overlap, so that a smaller step cannot be in micrometres.
        if step is not None and step < 0.9 * size:
            return None, size, f"tiles of {size:g} um would lie {step:g} um apart, so their unit is not known"
        return 1.0, size, ""
    given = about.get("tile_size", step)
    if given is not None and round(float(given)) == HISTORIC_PX:
        return HISTORIC_UM / HISTORIC_PX, HISTORIC_UM, "coordinates of STAMP version 1 (units of 256 um / 224)"
    if about.get("unit") == "um":
        return 1.0, None, "tile size unknown: the file has neither tile_size_um nor tile_size"
    apart = "" if step is None else f"; tiles lie {step:g} units apart"
    return (
        None,
        None,
        f"neither their unit nor a tile size is in the file{apart} (extract again with STAMP 2.1 or later)",
    )
