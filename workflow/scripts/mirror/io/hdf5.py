"""Opening HDF5 files that others wrote: without locks, and never beyond the file itself.

HDF5 can point elsewhere: a dataset's bytes can lie in any file of the machine (external storage), a name can
lead into another file (external link), and a virtual dataset is put together from others. A reader that follows
them copies the bytes of foreign files into results that are shared, so all three are refused.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from ..core.errors import InputError
from ..core.imposters import GIT_LFS
from ..core.memory import fits
from ..core.regular_file import open_regular, require_regular

LOCKS = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
MAX_OBJECTS = 100_000
_NO_LOCKS = "set HDF5_USE_FILE_LOCKING=FALSE in the environment, or copy the file to a local disk, and run again"


class FileOutOfReach(InputError):
    """A file whose content could not be examined: locked, not permitted, an input/output error. It may be whole.

    Attributes
    ----------
    errno : int
        The system's error number.
    """

    errno: int = 0


def open_h5(path: str | Path, what: str = "features", remedy: str = "copy it anew") -> h5py.File:
    """Open an HDF5 file for reading, or say in one line why it cannot be, with a ``remedy``.

    The file is read without a lock (``locking=False``), which works on file systems that have none (NFS, Lustre)
    and beside another process that has the file open.

    Raises
    ------
    FileOutOfReach
        The system refused: locks, permissions, an input/output error. Nothing is known about the content.
    InputError
        The file is missing, empty, no regular file, a git-LFS pointer, truncated or not HDF5, or points at other
        files (external storage, external links, virtual datasets).
    """
    path = Path(path)
    if not path.exists() and not path.is_symlink():
        raise InputError(f"no {what} file here", file=path, remedy=remedy)
    require_regular(path, f"{what} file")
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        if error.errno is not None:
            raise out_of_reach(error, path, what) from error
        with open_regular(path) as handle:
            head = handle.read(len(GIT_LFS))
        problem = f"the {what} file is truncated or not HDF5" if head else f"the {what} file has no bytes"
        if head == GIT_LFS:
            problem, remedy = f"a git-LFS pointer, not a {what} file", "fetch the file itself (git lfs pull)"
        raise InputError(problem, file=path, remedy=remedy) from error
    try:
        refuse_outside(file, path)
    except BaseException:
        file.close()
        raise
    return file


def out_of_reach(error: OSError, path: str | Path, what: str = "features") -> FileOutOfReach:
    """Return the error for a file that the system does not let us read; locks are told apart."""
    number = error.errno or 0
    name = errno.errorcode.get(number, str(number))
    if number in LOCKS or "unable to lock" in str(error):
        who = "another process has it open" if number == errno.EAGAIN else "the file system has no locks"
        found = FileOutOfReach(
            f"the {what} file cannot be locked (errno {number}, {name}): {who}; the file may be whole",
            file=path,
            remedy=_NO_LOCKS,
        )
        found.errno = number
        return found
    reason = {
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.EIO: "an input/output error of the disk or network",
        errno.ESTALE: "the network file system lost it (stale handle)",
        errno.EMFILE: "too many open files",
    }.get(number, (error.strerror or str(error)).splitlines()[0])
    found = FileOutOfReach(
        f"the {what} file cannot be read (errno {number}, {name}): {reason}",
        file=path,
        remedy="check its permissions and the disk, then run again",
    )
    found.errno = number
    return found


def refuse_outside(file: h5py.File, path: str | Path, limit: int = MAX_OBJECTS) -> None:
    """Refuse a file that points at other files of this machine.

    Every object is looked at, by its link and header alone; no data is read.

    Raises
    ------
    InputError
        Naming the dataset or link (its place in the file) and what it points at; or the file has more than
        ``limit`` objects or is damaged.
    """

    def refuse(name: str, how: str, target: str) -> InputError:
        return InputError(
            f"{how} ({target!r}); data outside the file is not read, since it could be any file of this machine",
            file=path,
            row=f"dataset {name}",
            remedy="write the data into the file itself (h5repack, or h5py without external or virtual data)",
        )

    try:
        for name, link, item in walk(file, path, limit):
            if isinstance(link, h5py.ExternalLink):
                raise refuse(name, "is an external link to another file", str(link.filename))
            if not isinstance(item, h5py.Dataset):
                continue
            if item.external:
                raise refuse(name, "keeps its bytes in another file", str(item.external[0][0]))
            if item.is_virtual:
                raise refuse(name, "is a virtual dataset of other files", item.virtual_sources()[0].file_name)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise out_of_reach(error, path) from error
        raise InputError(f"damaged HDF5 ({str(error).splitlines()[0]})", file=path, remedy="copy it anew") from error


def walk(
    file: h5py.File, path: str | Path, limit: int = MAX_OBJECTS
) -> Iterator[tuple[str, object, h5py.Group | h5py.Dataset | None]]:
    """Yield (name, link, object) of everything in a file; links are never followed out of it.

    Each object is visited once, so that hard links in a circle end. The object of a link is None.
    """
    seen = {_address(file)}
    todo: list[tuple[str, h5py.Group]] = [("", file["/"])]
    count = 0
    while todo:
        prefix, group = todo.pop()
        for key in group:
            count += 1
            if count > limit:
                raise InputError(
                    f"holds more than {limit} objects", file=path, remedy="keep one bag of features a file"
                )
            name = f"{prefix}/{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                yield name, link, None  # a soft link's target is visited under its own name
                continue
            item = group[key]
            if _address(item) in seen:
                continue
            seen.add(_address(item))
            yield name, link, item
            if isinstance(item, h5py.Group):
                todo.append((name, item))


def _address(item: h5py.Group | h5py.Dataset) -> int:
    info = h5py.h5o.get_info(item.id)
    return int(info.addr)


def read_array(data: h5py.Dataset, path: str | Path, share: float = 0.4) -> np.ndarray:
    """Read a whole dataset, unless its claimed size does not fit or none of it was ever written.

    Parameters
    ----------
    data : h5py.Dataset
        A dataset of an open file.
    path : path-like
        Named in errors.
    share : float
        The largest share of the job's memory that it may take.

    Raises
    ------
    InputError
        The dataset claims more than the share, or its bytes are not in the file (it would read as zeros).
    """
    fits(data.nbytes, path, data.name, share)
    if data.size and data.id.get_storage_size() == 0:
        raise InputError(
            f"dataset {data.name} claims {data.shape} and holds no bytes: its writer never filled it",
            file=path,
            remedy="make the file again",
        )
    return data[()]


def claimed(file: h5py.File, path: str | Path, skip: Callable[[str], bool]) -> int:
    """Return the bytes that all datasets claim together, those whose name ``skip`` accepts left out."""
    return sum(
        int(item.nbytes) for name, _, item in walk(file, path) if isinstance(item, h5py.Dataset) and not skip(name)
    )
