"""What every foreign reader shares: the form it returns, slide names, and the faults it names."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ...core.barcodes import parse, patient_id
from ...core.errors import InputError
from ...io.hdf5 import open_h5, read_array

_SLIDE_SUFFIXES = {".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide", ".vms", ".vmu", ".dcm"}
_SLIDE_SUFFIXES |= {".czi", ".png", ".jpg", ".jpeg"}


class NoMatch(str):
    """Why a slide has no file; ``kind`` groups equal reasons for the account."""

    kind: str

    def __new__(cls, text: str, kind: str = "no matching name") -> NoMatch:
        """Return the reason, a string, with its kind."""
        reason = super().__new__(cls, text)
        reason.kind = kind
        return reason


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
    tile_um : float or None
        Side of a tile in micrometres where the file states it.
    """

    features: np.ndarray
    coords: np.ndarray | None
    attrs: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tile_um: float | None = None


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
    if exact.ndim == 3 and exact.shape[0] == 1:  # a batch of one slide
        exact = exact[0]
    if exact.size == 0 or exact.shape == (2 * n,) == (2,):
        exact = exact.reshape(-1, 2)
    if exact.ndim == 2 and exact.shape[1] == 2 and len(exact) != n:
        raise ForeignError("wrong form", f"{n} features but {len(exact)} coordinates", file=path)
    if exact.shape != (n, 2):
        said = f"coordinates of shape {exact.shape} for {n} features, expected ({n}, 2)"
        raise ForeignError("wrong form", said, file=path)
    if n > 1 and exact.min() >= 0 and exact.max() <= 1 and (exact != np.rint(exact)).any():
        raise ForeignError("wrong form", "coordinates lie between 0 and 1, so they are no pixels", file=path)
    return np.rint(exact).astype(np.int64)


def stride(coords: np.ndarray) -> float | None:
    """Return the smallest step between tiles along x or y, in the unit of ``coords`` (N, 2); None for one tile."""
    steps = []
    for axis in (0, 1):
        places = np.unique(np.asarray(coords, np.float64)[:, axis])
        if len(places) > 1:
            steps.append(float(np.diff(places).min()))
    return min(steps) if steps else None


def read_dataset(path: Path, name: str) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any], dict[str, Any]]:
    """Read a features dataset and ``coords``: arrays, attributes of ``coords``, attributes of the file."""
    with open_h5(path) as file:
        if name not in file:
            raise no_dataset(file, name, path)
        for needed in (name, "coords"):
            if needed in file and not isinstance(file[needed], h5py.Dataset):
                raise ForeignError("wrong form", f"{needed} is a group, expected a dataset", file=path)
        coords = read_array(file["coords"], path) if "coords" in file else None
        about = attributes(file["coords"]) if "coords" in file else {}
        return as_features(read_array(file[name], path), path), coords, about, attributes(file)


_FEATURE_NAMES = ("features", "feats", "embeddings", "embedding", "feature", "x")


def no_dataset(file: h5py.File, name: str, path: Path) -> ForeignError:
    """The error for a file without the dataset that its format has; says what the file has instead."""
    there = ", ".join(list(file)[:8]) or "nothing"
    lower = {key.lower(): key for key in file}
    if name in lower:
        kind, hint = "names that differ by case", f"; {lower[name]!r} differs from it by case alone"
    else:
        near = next((lower[key] for key in _FEATURE_NAMES if key in lower), None)
        kind, hint = "other names of datasets", f"; the features seem to be under {near!r}" if near else ""
    if kind == "other names of datasets" and name == "features" and "feats" in lower:
        hint += " (set features: format: stamp for STAMP's files)"
    return ForeignError(
        kind, f"no dataset named {name}, only {there}{hint}", file=path, remedy=f"rename the dataset to {name}"
    )


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
    lower = {name.lower(): path for name, path in files.items()}
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
            out[slide_id] = _why_none(slide, names, files, lower)
    for slide_id in guessed:
        guess = Path(out[slide_id])
        others = [other for other in owners[guess] if other != slide_id]
        if others:
            out[slide_id] = f"{guess.name} could be this slide's or that of {', '.join(others[:3])}"
    return out


def _why_none(
    slide: Mapping[str, Any], names: Sequence[str], files: Mapping[str, Path], lower: Mapping[str, Path]
) -> NoMatch:
    """Say why no file carries a slide's name: another case, patients' names, or other names altogether."""
    some = ", ".join(sorted(files)[:2])
    said = f"no file of this name among {len(files)} ({some}{' ...' if len(files) > 2 else ''})"
    cased = next((lower[name.lower()] for name in names if name.lower() in lower), None)
    if cased is not None:
        return NoMatch(
            f"{cased.name} differs from the slide's name by upper and lower case alone; rename it to "
            f"{names[0]}{cased.suffix}",
            "names that differ by case",
        )
    patient = str(slide.get("patient_id") or "")
    owner = {patient, patient_id(patient), patient_id(names[0])} - {""}
    named = next((name for name in files if name in owner or name.upper() in owner), None)
    if named is not None:
        return NoMatch(
            f"{files[named].name} is named by the patient ({named}); one file per slide is expected, named by its "
            f"slide_id ({names[0]}{files[named].suffix})",
            "files named by patient",
        )
    if parse(names[0]) and sum(bool(parse(name)) for name in files) < 0.5 * len(files):
        return NoMatch(f"{said}: these names are no TCGA barcodes, the slides' are", "other identifiers")
    return NoMatch(said)
