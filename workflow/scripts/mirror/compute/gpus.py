"""GPUs of this machine, each lent to one job at a time.

Snakemake's ``gpu`` resource only counts; it gives no job per device. Here every job takes an
operating-system lock on a file per device and sees only what it locked. The kernel drops the lock
when the process ends, however it ends, so a crashed job frees its device by itself.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..core.errors import InputError
from .lock_files import holders, open_lock, prepare_folder, try_lock

log = logging.getLogger("mirror.devices")
VISIBLE = "CUDA_VISIBLE_DEVICES"
FAKE = "MIRROR_FAKE_GPUS"
LOCKS = "MIRROR_GPU_LOCKS"
WAIT, WAIT_H = "MIRROR_GPU_WAIT_H", 24  # hours a job waits for a GPU before it gives up
TELL_S = 600  # seconds between two lines that say who holds the GPUs


def list_gpus() -> list[str]:
    """Name the GPUs this job may use, without starting CUDA.

    Returns
    -------
    list of str
        UUIDs (of MIG slices where a device is cut), or indices where UUIDs are not told. A
        ``CUDA_VISIBLE_DEVICES`` set by Slurm or the user narrows the list. ``MIRROR_FAKE_GPUS``
        (a number, or names with commas) replaces what the machine has, for tests.
    """
    fake = os.environ.get(FAKE)
    if fake is not None:
        present = [str(i) for i in range(int(fake))] if fake.strip().isdigit() else _names(fake)
    else:
        present = _ask_driver()
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return present
    chosen = _names(visible)
    if any(name in ("-1", "NoDevFiles") for name in chosen):
        return []
    # The same device must carry one name whether it was given by number or by UUID.
    return [present[int(n)] if n.isdigit() and int(n) < len(present) else n for n in chosen]


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _ask_driver() -> list[str]:
    if shutil.which("nvidia-smi"):
        try:
            listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("nvidia-smi gave no answer (%s): no GPU is used", error)
            return []
        if listed.returncode == 0:
            devices: list[str] = []
            slices: list[str] = []
            for line in listed.stdout.splitlines():
                found = re.search(r"UUID:\s*([^)\s]+)", line)
                if found:
                    (slices if found[1].startswith("MIG") else devices).append(found[1])
            return slices or devices
    return [p.name.removeprefix("nvidia") for p in sorted(Path("/dev").glob("nvidia[0-9]*"))]


def held_gpus() -> list[str]:
    """GPUs that were lent to this process: present and visible, or allocated by Slurm.

    Pretended ones (``MIRROR_FAKE_GPUS``) are none: nothing could compute on them.
    """
    if FAKE in os.environ:
        return []
    return list_gpus() or ([] if VISIBLE in os.environ else _names(os.environ.get("SLURM_JOB_GPUS", "")))


def driver_version() -> str | None:
    """The NVIDIA driver's version, or None where nothing tells it."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = listed.stdout.split()
    return lines[0] if listed.returncode == 0 and lines else None


def lock_folder() -> Path:
    """Folder of the lock files: ``MIRROR_GPU_LOCKS``, or one in the machine's temporary folder, open to all users."""
    named = os.environ.get(LOCKS)
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "mirror-gpu-locks"
    return prepare_folder(folder, shared=not named)


def _try(path: Path, how: int, stack: ExitStack) -> bool:
    """Take a lock without waiting; the stack gives it back."""
    handle = open_lock(path)
    if not try_lock(handle, how):
        os.close(handle)
        return False
    stack.callback(os.close, handle)
    return True


def _take(device: str, share: int, stack: ExitStack) -> bool:
    """Lock one device: alone, or with one of ``share`` places on it."""
    name = re.sub(r"[^A-Za-z0-9-]", "_", device)
    folder = lock_folder()
    if share == 1:
        return _try(folder / f"{name}.lock", fcntl.LOCK_EX, stack)
    with ExitStack() as held:
        if _try(folder / f"{name}.lock", fcntl.LOCK_SH, held):
            for place in range(share):
                if _try(folder / f"{name}.place{place}.lock", fcntl.LOCK_EX, held):
                    stack.push(held.pop_all())
                    return True
    return False


def _wait_limit() -> float:
    """Seconds to wait for a GPU: ``MIRROR_GPU_WAIT_H`` hours."""
    text = os.environ.get(WAIT, str(WAIT_H))
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 <= hours < 10_000:
        raise InputError(f"is {text!r}, not a number of hours", file=WAIT, remedy=f"set it to hours, such as {WAIT_H}")
    return hours * 3600


@contextmanager
def lock_gpu(
    share: int = 1, count: int = 1, *, wanted: bool = True, poll_s: float = 1.0, timeout_s: float | None = None
) -> Iterator[list[str]]:
    """Hold ``count`` GPUs and show only these to CUDA; wait while all are busy.

    Call it before torch starts CUDA: ``CUDA_VISIBLE_DEVICES`` is read once.

    Parameters
    ----------
    share : int
        Jobs that may use a device together (small models). 1 has it alone.
    count : int
        Devices wanted at once. They are taken all or none, so that two jobs never hold half each.
    wanted : bool
        False locks nothing (a job that was told to stay on the CPU).
    poll_s : float
        Seconds between attempts.
    timeout_s : float, optional
        Give up after this many seconds; by default after ``MIRROR_GPU_WAIT_H`` hours, or 24.

    Yields
    ------
    list of str
        The devices held; empty on a machine without GPUs.

    Raises
    ------
    InputError
        When more devices are asked for than there are, or the time is up.
    """
    if share < 1 or count < 1:
        raise ValueError("share and count start at 1")
    devices = list_gpus() if wanted else []
    if not devices:
        yield []
        return
    if count > len(devices):
        raise InputError(
            f"{count} GPUs were asked for and {len(devices)} are here",
            remedy="lower the rule's gpus, or use a node with more",
        )
    started, next_word = time.monotonic(), 0.0
    limit = _wait_limit() if timeout_s is None else timeout_s
    while True:
        with ExitStack() as stack:
            held: list[str] = []
            for device in devices:
                if len(held) < count and _take(device, share, stack):
                    held.append(device)
            if len(held) == count:
                keep = stack.pop_all()
                break
        waited = time.monotonic() - started
        if waited > limit:
            who = holders(lock_folder())
            raise InputError(
                f"no GPU came free in {limit:g} s; held by {who}",
                remedy="start fewer jobs at once, or set MIRROR_GPU_LOCKS to a folder of your own",
            )
        if waited >= next_word:
            who = holders(lock_folder())
            log.info("All %d GPUs are busy, held by %s: waiting up to %.3g h", len(devices), who, limit / 3600)
            next_word = waited + TELL_S
        time.sleep(poll_s)
    before = os.environ.get(VISIBLE)
    with keep:
        os.environ[VISIBLE] = ",".join(held)
        log.info("Using GPU %s%s", ", ".join(held), "" if share == 1 else f" (shared by up to {share} jobs)")
        try:
            yield held
        finally:
            if before is None:
                os.environ.pop(VISIBLE, None)
            else:
                os.environ[VISIBLE] = before
