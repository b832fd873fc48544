"""Opening HDF5 files with errors that say what is wrong."""

from __future__ import annotations

from pathlib import Path

import h5py

from ..core.errors import InputError

_POINTER = b"version https://git-lfs.github.com/spec/"


def open_h5(path: str | Path, what: str = "features", remedy: str = "copy it anew") -> h5py.File:
    """Open an HDF5 file for reading, or say in one line why it cannot be, with a ``remedy``.

    Raises
    ------
    InputError
        The file is missing, empty, a git-LFS pointer, truncated or not HDF5.
    """
    path = Path(path)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if not path.is_file():
            raise InputError(f"no {what} file here", file=path, remedy=remedy) from error
        with open(path, "rb") as handle:
            head = handle.read(len(_POINTER))
        problem = f"the {what} file is truncated or not HDF5" if head else f"the {what} file has no bytes"
        if head == _POINTER:
            problem, remedy = f"a git-LFS pointer, not a {what} file", "fetch the file itself (git lfs pull)"
        raise InputError(problem, file=path, remedy=remedy) from error
