"""Patch features on disk: one HDF5 file per slide, in TRIDENT's form.

``features`` is stored in one piece (no HDF5 chunks): a random subset of rows then costs little
more than the same number of rows in a block, for this module and for anything else that reads
HDF5, whereas chunks make every random row pay for its chunk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from ..core.atomic import atomic_path
from ..core.errors import InputError
from .hdf5 import FileOutOfReach, open_h5

COORD_ATTRS = (
    "patch_size",
    "patch_size_level0",
    "level0_magnification",
    "target_magnification",
    "overlap",
    "name",
    "savetodir",
    "level0_width",
    "level0_height",
)
_BLOCK_BYTES = 32 << 20
REPAIR = (
    "run `snakemake repair_features --cores 1` with your --configfile; it makes broken feature files anew. Then go on"
)


def check_finite(block: np.ndarray, path: Path, rows: np.ndarray | None = None) -> None:
    """Raise an `InputError` that counts the rows of ``block`` (n, D) holding NaN or infinity."""
    bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if len(bad):
        first = int((bad if rows is None else np.asarray(rows)[bad]).min())
        raise InputError(f"NaN or infinity in {len(bad)} of {len(block)} rows, first in row {first}", file=path)


class FeatureWriter:
    """Write the features of one slide block by block; the file appears when it is whole.

    Parameters
    ----------
    path : path-like
        Final path.
    coords : (N, 2) integer array or int
        Top left corners, level-0 pixels; where they are unknown, the number of tiles.
    width : int
        Features per tile, D.
    dtype : {"float16", "float32"}
        Stored type.
    coord_attrs, attrs : mapping
        Attributes of ``coords`` (`COORD_ATTRS`) and of the file; ``complete`` is added at the end.
    """

    def __init__(
        self,
        path: str | Path,
        coords: np.ndarray | int,
        width: int,
        *,
        dtype: str = "float16",
        coord_attrs: Mapping[str, Any] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.width, self.dtype = Path(path), int(width), np.dtype(dtype)
        self._coords: np.ndarray | None = None
        if isinstance(coords, int):
            self._n = coords
        else:
            self._coords = np.asarray(coords, np.int64).reshape(-1, 2)
            self._n = len(self._coords)
        self._coord_attrs, self._attrs = dict(coord_attrs or {}), dict(attrs or {})
        self._written = 0
        self._stack = ExitStack()

    def __enter__(self) -> FeatureWriter:
        part = self._stack.enter_context(atomic_path(self.path))
        try:
            self._file = h5py.File(part, "w")
            self._stack.callback(self._file.close)
            self._features = self._file.create_dataset("features", (self._n, self.width), self.dtype)
            self._features.attrs["name"] = str(self._coord_attrs.get("name", self.path.stem))
            if "encoder" in self._attrs:
                self._features.attrs["encoder"] = self._attrs["encoder"]
            self._focus = self._file.create_dataset("focus", (self._n,), np.float32, fillvalue=np.nan)
            if self._coords is not None:
                coords = self._file.create_dataset("coords", data=self._coords)
                for key, value in self._coord_attrs.items():
                    coords.attrs[key] = "None" if value is None else value
            for key, value in self._attrs.items():
                self._file.attrs[key] = value
            self._file.attrs["width"] = self.width
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def write(self, rows: int | np.ndarray, features: np.ndarray, focus: np.ndarray | None = None) -> None:
        """Write some rows; each row is written once.

        Parameters
        ----------
        rows : int or (k,) integer array
            First of k successive rows, or every row.
        features : (k, D) float array
            Finite features.
        focus : (k,) float32 array, optional
            Focus scores; rows without one hold NaN.

        Raises
        ------
        InputError
            Wrong width, NaN or infinity, or values too large for the stored type.
        """
        features = np.asarray(features)
        if features.ndim != 2 or features.shape[1] != self.width:
            raise InputError(f"features of shape {features.shape}, expected (n, {self.width})", file=self.path)
        rows = np.asarray(rows, np.int64)
        if rows.ndim == 0:
            rows = rows + np.arange(len(features))
        check_finite(features, self.path, rows)
        if features.dtype != self.dtype:
            limit = float(np.finfo(self.dtype).max)
            if len(features) and float(np.abs(features).max()) > limit:
                raise InputError(
                    f"features reach beyond what {self.dtype} holds ({limit:g})",
                    file=self.path,
                    remedy="set embed: dtype: float32",
                )
            features = features.astype(self.dtype)
        order = np.argsort(rows, kind="stable")
        for run in np.split(order, np.flatnonzero(np.diff(rows[order]) != 1) + 1):
            if len(run):
                place = slice(rows[run[0]], rows[run[-1]] + 1)
                self._features[place] = features[run]
                if focus is not None:
                    self._focus[place] = np.asarray(focus, np.float32)[run]
        self._written += len(features)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            if self._written != self._n:
                raise InputError(f"{self._written} of {self._n} rows written", file=self.path)
            self._file.attrs["complete"] = True


def write_features(
    path: str | Path,
    features: np.ndarray,
    coords: np.ndarray | None,
    *,
    encoder: str,
    focus: np.ndarray | None = None,
    dtype: str = "float16",
    coord_attrs: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Write the features of one slide at once, atomically.

    Parameters
    ----------
    path : path-like
        Where to.
    features : (N, D) float array
        An empty slide has shape (0, D).
    coords : (N, 2) integer array or None
        Top left corners of the tiles, level-0 pixels; None where they are unknown.
    encoder : str
        Name of the patch encoder.
    focus : (N,) float array, optional
        Focus scores.
    dtype, coord_attrs, attrs
        See `FeatureWriter`.
    """
    features = np.asarray(features)
    if features.ndim != 2 or (coords is not None and len(features) != len(coords)):
        tiles = "some" if coords is None else len(coords)
        raise InputError(f"features of shape {features.shape} for {tiles} tiles", file=path)
    writer = FeatureWriter(
        path,
        len(features) if coords is None else coords,
        features.shape[1],
        dtype=dtype,
        coord_attrs=coord_attrs,
        attrs={"encoder": encoder, **(attrs or {})},
    )
    with writer:
        writer.write(0, features, focus)


@dataclass(frozen=True)
class _Layout:
    """Where a file's features lie, as of one version of the file."""

    version: tuple[int, int, int]
    shape: tuple[int, int]
    dtype: np.dtype
    offset: int | None


class FeatureFile:
    """Read the features of one slide; holds no open file, so thousands of them may be kept.

    Parameters
    ----------
    path : path-like
        An HDF5 file with ``features`` (N, D) and ``coords`` (N, 2).

    Raises
    ------
    InputError
        The file cannot be read or has no features.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._layout = self._read_layout()

    def _read_layout(self) -> _Layout:
        with open_h5(self.path, remedy=REPAIR) as file:
            if "features" not in file or not isinstance(file["features"], h5py.Dataset):
                raise InputError("no dataset named features", file=self.path, remedy=REPAIR)
            data = file["features"]
            shape = data.shape
            if shape == (0,):  # TRIDENT's form of an empty slide
                shape = (0, int(file.attrs.get("width", 0)))
            if len(shape) != 2 or data.dtype.kind != "f":
                raise InputError(f"features of shape {shape} and type {data.dtype}, expected (N, D)", file=self.path)
            plain = data.chunks is None and not data.external and not data.is_virtual
            offset = data.id.get_offset() if plain else None
            return _Layout(self._version(), (int(shape[0]), int(shape[1])), data.dtype, offset)

    def _version(self) -> tuple[int, int, int]:
        stat = os.stat(self.path)
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    @property
    def n(self) -> int:
        """Tiles."""
        return self._layout.shape[0]

    @property
    def width(self) -> int:
        """Features per tile, D."""
        return self._layout.shape[1]

    def __len__(self) -> int:
        return self.n

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Read some rows.

        Parameters
        ----------
        indices : (k,) integer array
            Rows in any order, repeats allowed; negative ones are refused.

        Returns
        -------
        (k, D) float32 array
            In the order asked for.

        Raises
        ------
        IndexError
            An index outside 0..N-1.
        """
        indices = np.asarray(indices, np.int64).reshape(-1)
        if len(indices) == 0:
            return np.empty((0, self.width), np.float32)
        if indices.min() < 0 or indices.max() >= self.n:
            raise IndexError(f"{self.path}: rows {indices.min()}..{indices.max()} of {self.n}")
        sorted_once, back = np.unique(indices, return_inverse=True)
        values = self._take(sorted_once)
        return values if np.array_equal(back, np.arange(len(indices))) else values[back]

    def _take(self, index: np.ndarray) -> np.ndarray:
        """Read rows given in rising order without repeats as float32."""
        if self._version() != self._layout.version:  # replaced since it was opened: offsets may have moved
            before, self._layout = self._layout.shape, self._read_layout()
            if self._layout.shape != before:
                raise InputError(f"replaced while in use: {self._layout.shape} where {before} was", file=self.path)
        layout = self._layout
        if layout.offset is not None:
            data = np.memmap(self.path, layout.dtype, "r", offset=layout.offset, shape=layout.shape)
            return data[index].astype(np.float32)
        with open_h5(self.path) as file:  # chunked or compressed, written by others: each chunk is read once
            data, out = file["features"], np.empty((len(index), self.width), np.float32)
            step = max(1, _BLOCK_BYTES // max(1, self.width * data.dtype.itemsize))
            for start in range(int(index[0]), int(index[-1]) + 1, step):
                low, high = np.searchsorted(index, (start, start + step))
                if low < high:
                    out[low:high] = data[start : start + step][index[low:high] - start]
            return out

    def all(self) -> np.ndarray:
        """Read all rows: (N, D) float32."""
        return self._take(np.arange(self.n)) if self.n else np.empty((0, self.width), np.float32)

    @property
    def coords(self) -> np.ndarray:
        """Top left corners of the tiles: (N, 2) int64, level-0 pixels."""
        with open_h5(self.path) as file:
            if "coords" not in file:
                raise InputError("these features came without coordinates", file=self.path)
            return np.asarray(file["coords"][()], np.int64).reshape(-1, 2)

    @property
    def coord_attrs(self) -> dict[str, Any]:
        """Attributes of ``coords``; TRIDENT's string 'None' is given as None."""
        with open_h5(self.path) as file:
            attrs = dict(file["coords"].attrs) if "coords" in file else {}
        return {key: None if isinstance(value, str) and value == "None" else value for key, value in attrs.items()}

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the file."""
        with open_h5(self.path) as file:
            return dict(file.attrs)

    @property
    def focus(self) -> np.ndarray | None:
        """Focus scores (N,) float32, NaN where unknown; None where the file has none."""
        with open_h5(self.path) as file:
            return np.asarray(file["focus"][()], np.float32) if "focus" in file else None

    def in_focus(self, min_focus: float | None) -> np.ndarray:
        """Return the rows whose focus is at least ``min_focus`` or unknown, rising int64; None keeps all."""
        focus = None if min_focus is None else self.focus
        if focus is None:
            return np.arange(self.n)
        return np.flatnonzero(~(focus < min_focus))


def is_complete(path: str | Path, **expected: Any) -> bool:
    """Whether ``path`` is a whole feature (or tile) file whose attributes are the ``expected`` ones.

    Raises
    ------
    FileOutOfReach
        The file is there and the system does not let us read it (locks, permissions): it may be whole, so it
        must not count as damaged.
    """
    path = Path(path)
    if not path.exists():
        return False
    try:
        with open_h5(path) as file:
            return bool(file.attrs.get("complete", False)) and all(
                file.attrs.get(key) == value for key, value in expected.items()
            )
    except FileOutOfReach:
        raise
    except (InputError, OSError, RuntimeError, KeyError):
        return False
