"""Feature files that broke after their shard was done: found, and made anew one by one."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.errors import InputError
from ..io.features import FeatureFile, is_complete
from ..io.hdf5 import FileOutOfReach
from ..io.status import read_shards

log = logging.getLogger("mirror.repair")
Rows = Sequence[Mapping[str, Any]]


def broken_files(status: pd.DataFrame, folder: Path, out_of_reach: list[FileOutOfReach] | None = None) -> list[str]:
    """Slides whose table says that they have features, and whose file is not there, not whole or of another size.

    Opening a file reads its header alone; numbers that changed
    inside a file of the right size are not found.

    Parameters
    ----------
    status : DataFrame
        Columns slide_id, status, n_tiles.
    folder : Path
        ``results/slides/features/{encoder}``.
    out_of_reach : list, optional
        Gets an error for each file that the system does not let us read (a lock, permissions). Such a file may
        be whole and is not listed as broken.

    Returns
    -------
    list of str
        An input/output error of the disk counts as broken.
    """
    found = []
    for row in status.itertuples():
        path = folder / f"{row.slide_id}.h5"
        if row.status == "failed":
            continue
        try:
            whole = is_complete(path) and FeatureFile(path).n == int(row.n_tiles)
        except FileOutOfReach as error:
            if error.errno != errno.EIO:
                log.error("%s", error)
                if out_of_reach is not None:
                    out_of_reach.append(error)
                continue
            whole = False
        except InputError:
            whole = False
        if not whole:
            found.append(str(row.slide_id))
    return found


def repair(slides: Rows, folder: Path, cohort: str, encoder: str, make: Callable[[Rows, Path], pd.DataFrame]) -> int:
    """Make the broken feature files of one cohort and encoder anew; the status tables stay as they are.

    The new files are made in a folder of their own and take the places of the broken ones when they are whole,
    so that nothing is deleted before its successor exists.

    Parameters
    ----------
    slides : sequence of mapping
        Rows of the cohort's slide table.
    folder : Path
        ``results/slides``.
    cohort, encoder : str
        Their names.
    make : callable
        Called with rows of the slide table and a folder that has ``tiles``; writes
        ``features/{encoder}/{slide}.h5`` in that folder and returns their status.

    Returns
    -------
    int
        Files made anew.

    Raises
    ------
    InputError
        A file could not be made anew, holds another number of tiles than before, or could not be examined. The
        broken file is kept then, and the others are replaced all the same.
    """
    status = read_shards(folder / cohort / "features" / encoder)
    features = folder / "features" / encoder
    unread: list[FileOutOfReach] = []
    broken = broken_files(status, features, unread)
    log.info("%s, %s: %d of %d feature files are broken", cohort, encoder, len(broken), len(status))
    if broken:
        _replace(broken, status, slides, folder, encoder, make)
    if unread:
        raise InputError(
            f"{len(unread)} feature files could not be examined and were left as they are; the first: "
            f"{unread[0].problem}",
            file=unread[0].file,
            remedy=unread[0].remedy,
        )
    return len(broken)


def _replace(
    broken: list[str],
    status: pd.DataFrame,
    slides: Rows,
    folder: Path,
    encoder: str,
    make: Callable[[Rows, Path], pd.DataFrame],
) -> None:
    """Make files in a scratch folder beside the old ones, and move each whole one into place."""
    features = folder / "features" / encoder
    tiles = status.set_index("slide_id")["n_tiles"]
    for slide in broken:
        log.info("%s is made anew", features / f"{slide}.h5")
    features.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".repair-", dir=folder) as scratch:
        root = Path(scratch)
        (root / "tiles").symlink_to((folder / "tiles").resolve())
        made = make([slide for slide in slides if slide["slide_id"] in set(broken)], root)
        changed, lost = [], []
        for slide in broken:
            new = root / "features" / encoder / f"{slide}.h5"
            if not is_complete(new):
                lost.append(slide)
            elif FeatureFile(new).n != int(tiles[slide]):
                changed.append(slide)
            else:
                os.replace(new, features / f"{slide}.h5")
    failed = made[made["status"] == "failed"]
    if len(failed):
        first = failed.iloc[0]
        raise InputError(f"cannot be made anew ({len(failed)} so): {first['message']}", row=str(first["slide_id"]))
    if changed:
        raise InputError(
            "the slide has other tiles now than its table says",
            file=features / f"{changed[0]}.h5",
            remedy="run with --forcerun tile_slides: its tiles, its features and what follows are made anew",
        )
    if lost:
        raise InputError(f"{len(lost)} files were not made anew", file=features / f"{lost[0]}.h5")
