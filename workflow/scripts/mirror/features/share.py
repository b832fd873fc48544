"""Features shared by content between projects: the same slide, tiles, encoder and code are embedded once.

A shared file is named by its key and by the hash of its own bytes, and holds the key once more.
What does not agree in all three is not used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from ..core.atomic import atomic_path
from ..core.errors import InputError
from ..core.regular_file import require_regular
from ..io.features import is_complete
from ..io.hdf5 import open_h5

log = logging.getLogger("mirror.share")
KEY = "share_key"


def hash_facts(*facts: Any) -> str:
    """Hash anything JSON can say, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _hash_file(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:32]


@contextmanager
def _linked(source: Path, target: Path) -> Iterator[Path]:
    """Yield a temporary hard link to (or copy of) ``source`` that becomes ``target``."""
    with atomic_path(target) as part:
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, part)
        yield part


class FeatureShare:
    """A folder of shared features.

    Parameters
    ----------
    folder : path-like
        Where; made when missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def _candidates(self, key: str) -> list[Path]:
        return sorted((self.folder / key[:2]).glob(f"{key}.*.h5"))

    def get(self, key: str, out: Path, name: str) -> bool:
        """Put the features of ``key`` at ``out``, a hard link where possible.

        Parameters
        ----------
        key : str
            Hash of everything that shapes the file.
        out : Path
            Final path.
        name : str
            The slide's name here; a file that carries another is copied and renamed.

        Returns
        -------
        bool
            False where there are none, or they are damaged.
        """
        for path in self._candidates(key):
            try:
                require_regular(path)  # a share is written by others as well
                whole = path.name == f"{key}.{_hash_file(path)}.h5" and is_complete(path, **{KEY: key})
            except (InputError, OSError) as error:
                log.warning("%s; not used", error)
                continue
            if not whole:
                log.warning("%s: damaged or not what its name says; not used", path)
                continue
            with open_h5(path) as file:
                same = file["coords"].attrs.get("name", name) == name
            if same:
                with _linked(path, out):
                    pass
            else:
                with atomic_path(out) as part:
                    shutil.copyfile(path, part)
                    with h5py.File(part, "r+") as file:
                        file["coords"].attrs["name"] = name
                        file["features"].attrs["name"] = name
            return True
        return False

    def put(self, key: str, path: Path) -> None:
        """Offer a finished feature file under ``key``; it must hold the key as an attribute.

        A share that cannot be written (full, read-only) is a warning: the project has its file.
        """
        try:
            if not any(self._candidates(key)):
                with _linked(path, self.folder / key[:2] / f"{key}.{_hash_file(path)}.h5"):
                    pass
        except OSError as error:
            log.warning("features are not shared: %s", error)
