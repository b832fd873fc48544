"""Tile coordinates in TRIDENT's form, with tissue and pen share and where they come from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..core.atomic import atomic_path
from ..core.errors import InputError
from .hdf5 import FileOutOfReach, open_h5


@dataclass(frozen=True)
class TileTable:
    """Tiles of one slide.

    Attributes
    ----------
    coords : ndarray of int64, shape (n, 2)
        Top-left x, y, level-0 pixels, row-major.
    tissue_fraction, pen_fraction : ndarray of float32, shape (n,)
        Share of each tile.
    grid : dict
        TRIDENT's attributes: patch_size, patch_size_level0, level0_magnification,
        target_magnification, overlap, name, savetodir, level0_width, level0_height.
    info : dict
        File attributes: mpp, mpp_source, mpp_target, fingerprint, settings, settings_hash ...
    """

    coords: np.ndarray
    tissue_fraction: np.ndarray
    pen_fraction: np.ndarray
    grid: dict[str, Any]
    info: dict[str, Any]

    def __len__(self) -> int:
        return len(self.coords)


def write_tiles(path: str | Path, table: TileTable) -> None:
    """Write ``table`` to ``path`` atomically; the last thing written is ``complete=True``."""
    with atomic_path(path) as part, h5py.File(part, "w") as file:
        coords = file.create_dataset("coords", data=np.asarray(table.coords, np.int64).reshape(-1, 2))
        coords.attrs.update(table.grid)
        file.create_dataset("tissue_fraction", data=np.asarray(table.tissue_fraction, np.float32))
        file.create_dataset("pen_fraction", data=np.asarray(table.pen_fraction, np.float32))
        for key, value in table.info.items():
            file.attrs[key] = json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
        file.attrs["complete"] = True


def read_tiles(path: str | Path) -> TileTable:
    """Read a tile file.

    Raises
    ------
    InputError
        When the file is missing, damaged, or was never finished.
    """
    again = "delete it and run again"
    if not Path(path).exists():
        raise InputError("no such tile file", file=path, remedy="run the tiling step first")
    try:
        file = open_h5(path, "tile", again)
    except FileOutOfReach:
        raise
    except InputError as error:
        raise InputError(f"is not a whole tile file ({error.problem})", file=path, remedy=again) from error
    try:
        with file:
            if not file.attrs.get("complete", False):
                raise InputError("tile file was never finished", file=path, remedy=again)
            info = {k: v.item() if isinstance(v, np.generic) else v for k, v in file.attrs.items()}
            grid = {k: v.item() if isinstance(v, np.generic) else v for k, v in file["coords"].attrs.items()}
            return TileTable(file["coords"][:], file["tissue_fraction"][:], file["pen_fraction"][:], grid, info)
    except (OSError, KeyError) as error:
        raise InputError(f"is not a whole tile file ({error})", file=path, remedy=again) from error
