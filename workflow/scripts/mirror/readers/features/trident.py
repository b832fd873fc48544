"""TRIDENT: ``features_{encoder}/{slide}.h5`` beside ``patches/{slide}_patches.h5``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...core.errors import InputError
from ...io.features import COORD_ATTRS
from ...io.hdf5 import open_h5
from .base import ForeignSlide, as_coords, attributes, list_files, read_dataset


def find_files(root: Path, encoder: str) -> dict[str, Path]:
    """Find the feature files below a TRIDENT folder, or in a ``features_*`` folder itself.

    Raises
    ------
    InputError
        Several encoders' folders, and none has this encoder's name.
    """
    folders = sorted(p for p in root.glob("features_*") if p.is_dir())
    if not folders:  # one level up: {mag}x_{ps}px_{ov}px_overlap/features_*
        folders = sorted(p for p in root.glob("*/features_*") if p.is_dir())
    named = [p for p in folders if p.name == f"features_{encoder}"]
    chosen = named or folders or [root]
    if len(chosen) > 1:
        raise InputError(
            f"{len(chosen)} folders of features ({', '.join(str(p.relative_to(root)) for p in chosen)})",
            file=root,
            remedy="give the path of the one that is meant",
        )
    return list_files(chosen[0], ".h5")


def read_slide(path: Path) -> ForeignSlide:
    """Read one slide; what its coordinates do not say is taken from its patches file."""
    features, coords, about, _ = read_dataset(path, "features")
    about = complete(path, about)
    notes = () if about.get("patch_size_level0") else ("tile size unknown",)
    attrs = {key: about.get(key) for key in COORD_ATTRS}
    if coords is None:
        return ForeignSlide(features, None, attrs, ("no coordinates", *notes))
    return ForeignSlide(features, as_coords(coords, len(features), path), attrs, notes)


def complete(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Add what the coordinates of a slide do not say from its patches file, and the tile's size where it follows."""
    patches = path.parent.parent / "patches" / f"{path.stem}_patches.h5"
    if patches.is_file() and any(about.get(key) is None for key in COORD_ATTRS):
        with open_h5(patches, "patches") as file:
            if "coords" in file:
                beside = attributes(file["coords"])
                about |= {key: value for key, value in beside.items() if about.get(key) is None}
    return with_size(about)


def with_size(about: dict[str, Any]) -> dict[str, Any]:
    """Add ``patch_size_level0`` where it follows from the magnifications."""
    size, level0, target = (about.get(k) for k in ("patch_size", "level0_magnification", "target_magnification"))
    if not about.get("patch_size_level0") and size and level0 and target:
        return about | {"patch_size_level0": round(size * level0 / target)}
    return about
