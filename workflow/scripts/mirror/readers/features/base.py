"""What every foreign reader shares: the form it returns, slide names, and the faults it names."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...core.errors import InputError
from ...io.hdf5 import open_h5

_SLIDE_SUFFIXES = {".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide", ".vms", ".vmu", ".dcm"}
_SLIDE_SUFFIXES |= {".czi", ".png", ".jpg", ".jpeg"}


class ForeignError(InputError):
    """A fault of one slide's features; ``kind`` groups equal faults for the account."""

    def __init__(self, kind: str, problem: str, **where: Any) -> None:
        super().__init__(problem, **where)
        self.kind = kind


@dataclass(frozen=True)
class ForeignSlide:
    """One slide as another tool wrote it.

    Attributes
    ----------
    features : (N, D) array
        float16 or float32, as stored; an empty slide has shape (0, D) or (0, 0).
    coords : (N, 2) int64 array or None
        Top left corners, level-0 pixels; None where unknown.
    attrs : dict
        TRIDENT's attributes of ``coords`` as far as known.
    notes : tuple of str
        What the user should know.
    """

    features: np.ndarray
    coords: np.ndarray | None
    attrs: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def list_files(folder: Path, suffix: str) -> dict[str, Path]:
    """Files of a folder by their stem; hidden ones (a writer's unfinished files) are not listed."""
    return {path.stem: path for path in sorted(folder.glob(f"*{suffix}")) if not path.name.startswith(".")}


def plain(value: Any) -> Any:
    """Return an HDF5 attribute as a Python value; the string 'None' is None, a whole float an int."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and value in ("None", ""):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value


def attributes(item: h5py.Dataset | h5py.File) -> dict[str, Any]:
    """Attributes as Python values."""
    return {key: plain(value) for key, value in item.attrs.items()}


def as_features(array: np.ndarray, path: Path) -> np.ndarray:
    """Return features as (N, D) float16 or float32, or say why they are none.

    Raises
    ------
    ForeignError
        A slide-level vector, whole numbers, or a shape that is no list of vectors.
    """
    if array.size == 0:
        return np.empty((0, array.shape[1] if array.ndim == 2 else 0), np.float32)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1:
        raise ForeignError("slide-level vectors", f"one vector of {len(array)}, not patch features", file=path)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ForeignError("wrong form", f"an array {array.shape} of {array.dtype}, expected (N, D) floats", file=path)
    return array if array.dtype in (np.float16, np.float32) else array.astype(np.float32)


def as_coords(array: np.ndarray, n: int, path: Path) -> np.ndarray:
    """Return coordinates as (n, 2) int64.

    Raises
    ------
    ForeignError
        Their number is not ``n``, or one of them is no number.
    """
    exact = np.asarray(array, np.float64)
    bad = int((~np.isfinite(exact)).sum())
    if bad:
        raise ForeignError("wrong form", f"{bad} of {exact.size} coordinates are NaN or infinite", file=path)
    coords = np.rint(exact).astype(np.int64)
    coords = coords.reshape(-1, 2) if coords.size % 2 == 0 else coords.reshape(-1, 1)
    if coords.shape != (n, 2):
        raise ForeignError("wrong form", f"{n} features but {len(coords)} coordinates", file=path)
    return coords


def read_dataset(path: Path, name: str) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any], dict[str, Any]]:
    """Read a features dataset and ``coords``: arrays, attributes of ``coords``, attributes of the file."""
    with open_h5(path) as file:
        if name not in file:
            raise ForeignError("wrong form", f"no dataset named {name}, only {', '.join(file) or 'nothing'}", file=path)
        for needed in (name, "coords"):
            if needed in file and not isinstance(file[needed], h5py.Dataset):
                raise ForeignError("wrong form", f"{needed} is a group, expected a dataset", file=path)
        coords = file["coords"][()] if "coords" in file else None
        about = attributes(file["coords"]) if "coords" in file else {}
        return as_features(file[name][()], path), coords, about, attributes(file)


def slide_stem(name: str) -> str:
    """Return a slide's name without its file suffix, if that is one of a slide."""
    path = Path(name)
    return path.stem if path.suffix.lower() in _SLIDE_SUFFIXES else path.name


def match_slides(slides: Iterable[Mapping[str, Any]], files: Mapping[str, Path]) -> dict[str, Path | str]:
    """Find each slide's file by name.

    The slide's id is tried first, then its file's name, then both without what follows the first
    dot (TCGA appends a UUID there, and not every tool keeps it). Names are compared in Unicode form
    NFC. A file that fits several slides only by the shortened name is given to none of them.

    Parameters
    ----------
    slides : iterable of mapping
        ``slide_id`` and ``slide_path``.
    files : mapping of str to Path
        Files by the slide name they carry.

    Returns
    -------
    dict of str to Path or str
        By slide id, the file or, where there is none, the reason.
    """
    files = {unicodedata.normalize("NFC", name): path for name, path in files.items()}
    short: dict[str, list[Path]] = defaultdict(list)
    for name, path in files.items():
        short[name.split(".")[0]].append(path)
    out: dict[str, Path | str] = {}
    owners: dict[Path, list[str]] = defaultdict(list)  # exact ones count as well
    guessed = []
    for slide in slides:
        slide_id = str(slide["slide_id"])
        names = [slide_id, slide_stem(slide_id), slide_stem(str(slide.get("slide_path") or ""))]
        names = [unicodedata.normalize("NFC", name) for name in names]
        exact = [files[name] for name in names if name in files]
        near = next((short[key] for name in names if (key := name.split(".")[0]) in short), [])
        if exact:
            out[slide_id] = exact[0]
            owners[exact[0]].append(slide_id)
        elif len(near) == 1:
            out[slide_id] = near[0]
            owners[near[0]].append(slide_id)
            guessed.append(slide_id)
        elif near:
            out[slide_id] = f"{len(near)} files could be this slide's ({near[0].name}, {near[1].name} ...)"
        else:
            some = ", ".join(sorted(files)[:2])
            out[slide_id] = f"no file of this name among {len(files)} ({some}{' ...' if len(files) > 2 else ''})"
    for slide_id in guessed:
        guess = Path(out[slide_id])
        others = [other for other in owners[guess] if other != slide_id]
        if others:
            out[slide_id] = f"{guess.name} could be this slide's or that of {', '.join(others[:3])}"
    return out
