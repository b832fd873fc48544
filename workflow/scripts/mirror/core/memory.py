"""How much memory this job may use, so that no input can take more."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

from .errors import InputError

_MIB = 1 << 20
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_stated: int | None = None


def set_job_memory(mem_mb: float | None) -> None:
    """State the rule's ``mem_mb``; None takes the statement back."""
    global _stated
    _stated = None if not mem_mb else int(mem_mb * _MIB)


def job_memory() -> int:
    """Bytes of memory that this job may use.

    Returns
    -------
    int
        The least of: what `set_job_memory` stated (a rule's ``mem_mb``), the process's limit (``ulimit -v``), the
        control group's and Slurm's limit, and the machine's memory.
    """
    limits = [] if _stated is None else [_stated]
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    for place in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(place).read_text(encoding="ascii")))
    with contextlib.suppress(KeyError, ValueError):
        limits.append(int(os.environ["SLURM_MEM_PER_NODE"]) * _MIB)
    with contextlib.suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((limit for limit in limits if limit > 0), default=2 << 30)


def in_words(size: float) -> str:
    """Return a number of bytes in words, such as ``1.5 GB`` (powers of 1000)."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} bytes"


def fits(size: int, path: str | Path, what: str, share: float) -> None:
    """Refuse ``size`` bytes when they are more than a share of the job's memory.

    Raises
    ------
    InputError
        Says what claims how much, and what is allowed.
    """
    allowed = int(job_memory() * share)
    if size > allowed:
        raise InputError(
            f"{what} would take {in_words(size)}; this job's memory allows {in_words(allowed)} for it",
            file=path,
            remedy="raise mem_mb of the rule (--set-resources) if the file is genuine",
        )
