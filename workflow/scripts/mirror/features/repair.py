"""Feature files that broke after their shard was done: found, and made anew one by one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.errors import InputError
from ..io.features import FeatureFile, is_complete
from ..io.status import read_shards

log = logging.getLogger("mirror.mend")
Rows = Sequence[Mapping[str, Any]]


def broken_files(status: pd.DataFrame, folder: Path) -> list[str]:
    """Slides whose table says that they have features, and whose file is not there, not whole or of another size.

    Opening a file reads its header alone; numbers that changed
    inside a file of the right size are not found.
    """
    found = []
    for row in status.itertuples():
        path = folder / f"{row.slide_id}.h5"
        if row.status == "failed":
            continue
        try:
            whole = is_complete(path) and FeatureFile(path).n == int(row.n_tiles)
        except InputError:
            whole = False
        if not whole:
            found.append(str(row.slide_id))
    return found


def mend(slides: Rows, folder: Path, cohort: str, encoder: str, make: Callable[[Rows], pd.DataFrame]) -> int:
    """Make the broken feature files of one cohort and encoder anew; the status tables stay as they are.

    Parameters
    ----------
    slides : sequence of mapping
        Rows of the cohort's slide table.
    folder : Path
        ``results/slides``.
    cohort, encoder : str
        Their names.
    make : callable
        Writes the feature files of the slides given, and returns their status.

    Returns
    -------
    int
        Files made anew.

    Raises
    ------
    InputError
        A file could not be made anew, or holds another number of tiles than before.
    """
    status = read_shards(folder / cohort / "features" / encoder)
    features = folder / "features" / encoder
    broken = broken_files(status, features)
    log.info("%s, %s: %d of %d feature files are broken", cohort, encoder, len(broken), len(status))
    if not broken:
        return 0
    for slide in broken:
        log.info("%s is made anew", features / f"{slide}.h5")
        (features / f"{slide}.h5").unlink(missing_ok=True)
    made = make([slide for slide in slides if slide["slide_id"] in set(broken)])
    failed = made[made["status"] == "failed"]
    if len(failed):
        first = failed.iloc[0]
        raise InputError(f"cannot be made anew ({len(failed)} so): {first['message']}", row=str(first["slide_id"]))
    left = broken_files(status[status["slide_id"].isin(broken)], features)
    if left:
        raise InputError(
            "the slide has other tiles now than its table says",
            file=features / f"{left[0]}.h5",
            remedy="run with --forcerun tile_slides: its tiles, its features and what follows are made anew",
        )
    return len(broken)
