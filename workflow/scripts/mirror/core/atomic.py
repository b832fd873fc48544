"""Files that are either whole or absent.

Every output is written under a temporary name in its own folder and renamed when it is
complete, so that a kill, a full disk or an exception never leaves half a file under a name
that a later step would trust.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

PART = ".part"


@cache
def _umask() -> int:
    """The process's umask, read where the system tells it, else by setting it for a moment."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends without an error.

    Parameters
    ----------
    path : path-like
        The final name. Its folder is made when missing.

    Yields
    ------
    pathlib.Path
        ``.{name}.{pid}.part{suffix}`` in the same folder; the suffix is kept because some
        writers choose a format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}{PART}{path.suffix}")
    try:
        yield part
        with open(part, "rb+") as handle:
            os.fsync(handle.fileno())
        # Some writers (safetensors) make files that only their owner can read; a lab shares its results.
        os.chmod(part, 0o666 & ~_umask())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, UTF-8."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, atomically. NaN is refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False, default=str) + "\n")


def write_tsv(path: str | Path, table: pd.DataFrame) -> None:
    """Write ``table`` as tab-separated values without its index, atomically."""
    with atomic_path(path) as part:
        table.to_csv(part, sep="\t", index=False, float_format="%.8g")


def disk_is_full(error: BaseException) -> bool:
    """Whether ``error``, or what caused it, says that no space (or quota) is left."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # HDF5 puts the system's errno in its text only.
        if f"errno = {errno.ENOSPC}," in str(seen) or "No space left on device" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
