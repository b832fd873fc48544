"""Lock files in a folder that other users of the machine can write to: what is trusted, and who holds a lock."""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
from pathlib import Path

from ..core.errors import InputError

SETTING = "MIRROR_GPU_LOCKS"
REMEDY = f"set {SETTING} to a folder of your own, the same for all your runs on this machine"


def user_name(uid: int) -> str:
    """The name of a user, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def prepare_folder(folder: Path, shared: bool) -> Path:
    """Make the folder of lock files if it is not there, and check that other users cannot replace what is in it.

    Parameters
    ----------
    folder : Path
        The folder; its parents are made too.
    shared : bool
        Whether all users of the machine share it (the default place). It is made with mode 1777.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        For a link, something that is no folder, a folder that everybody may write to without the sticky bit, or one
        that this user cannot write to: names path, owner and remedy.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.is_symlink():
            folder.mkdir(exist_ok=True)
        found = os.lstat(folder)
    except FileExistsError:
        found = os.lstat(folder)
    except OSError as error:
        raise InputError(f"cannot be made ({error.strerror})", file=folder, remedy=REMEDY) from error
    owner = user_name(found.st_uid)
    if shared and stat.S_ISLNK(found.st_mode):
        raise InputError(f"is a link of {owner}, not the folder of GPU locks", file=folder, remedy=REMEDY)
    found = os.stat(folder) if folder.exists() else found
    if not stat.S_ISDIR(found.st_mode):
        raise InputError(f"is no folder (owner {owner}), and GPU locks are kept there", file=folder, remedy=REMEDY)
    if shared and found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX:
        os.chmod(folder, 0o1777)
        found = os.stat(folder)
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        problem = f"can be written by everybody and has no sticky bit (owner {owner}): its locks could be removed"
        raise InputError(problem, file=folder, remedy=f"chmod +t {folder}, or {REMEDY}")
    if not os.access(folder, os.W_OK | os.X_OK):
        problem = (
            f"cannot be written (owner {owner}, mode {stat.S_IMODE(found.st_mode):o}), and GPU locks are kept there"
        )
        raise InputError(problem, file=folder, remedy=REMEDY)
    return folder


def open_lock(path: Path) -> int:
    """Open a lock file for reading and writing, making it where it is missing.

    Raises
    ------
    InputError
        For a link, a FIFO or anything else that is no regular file, and for a file that this user may not open.
    """
    # Opened first without O_CREAT: in a sticky folder the kernel refuses O_CREAT on another user's file.
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        try:
            handle = os.open(path, flags)
        except FileNotFoundError:
            old = os.umask(0)
            try:
                handle = os.open(path, flags | os.O_CREAT, 0o666)
            finally:
                os.umask(old)
    except OSError as error:
        raise InputError(
            f"cannot be used as a lock ({error.strerror}; owner {_owner(path)})",
            file=path,
            remedy=f"ask the owner to remove it, or {REMEDY}",
        ) from error
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(handle)
        problem = f"is no plain lock file (owner {user_name(found.st_uid)})"
        raise InputError(problem, file=path, remedy=f"ask the owner to remove it, or {REMEDY}")
    return handle


def try_lock(handle: int, how: int) -> bool:
    """Take ``fcntl.LOCK_EX`` or ``LOCK_SH`` without waiting."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holders(folder: Path) -> str:
    """Say who holds locks in the folder: ``PID 4711 of anna (GPU-1.lock)``; its owner where no PID is known."""
    by_inode: dict[tuple[int, int], list[int]] = {}
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[4].lstrip("-").isdigit():
            major, minor, inode = words[5].split(":")
            by_inode.setdefault((os.makedev(int(major, 16), int(minor, 16)), int(inode)), []).append(int(words[4]))
    out = []
    for path in sorted(folder.glob("*.lock")):
        try:
            found = os.stat(path, follow_symlinks=False)
        except OSError:
            continue
        for pid in by_inode.get((found.st_dev, found.st_ino), []):
            out.append(
                f"PID {pid} of {_user_of(pid)} ({path.name})" if pid > 0 else f"a process elsewhere ({path.name})"
            )
    return ", ".join(out) or f"a process that this machine does not name (folder of {_owner(folder)})"


def _user_of(pid: int) -> str:
    try:
        return user_name(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return "another user"


def _owner(path: Path) -> str:
    try:
        return user_name(os.lstat(path).st_uid)
    except OSError:
        return "unknown"
