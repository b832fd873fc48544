"""Lock files in a folder that others can write to."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from mirror.compute import gpus
from mirror.compute.gpus import lock_gpu
from mirror.compute.lock_files import holders, open_lock, prepare_folder, user_name
from mirror.core.errors import InputError

ME = user_name(os.geteuid())


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default folder, in a temporary folder of its own; one GPU."""
    monkeypatch.setenv("MIRROR_FAKE_GPUS", "1")
    monkeypatch.delenv("MIRROR_GPU_LOCKS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path / "mirror-gpu-locks"


def test_the_folder_is_made_sticky_and_open_to_all(shared: Path):
    with lock_gpu() as held:
        assert held == ["0"]
    assert shared.stat().st_mode & 0o7777 == 0o1777


@pytest.mark.fault(
    stage="cluster",
    fault="the folder of GPU locks is a link, a file, a FIFO, or has no sticky bit",
    sees="path, owner and MIRROR_GPU_LOCKS, at once",
    survives="nothing was waited for",
)
@pytest.mark.parametrize("kind", ["link", "dangling", "file", "fifo", "open"])
def test_a_folder_that_others_prepared_is_refused(shared: Path, tmp_path: Path, kind: str, monkeypatch):
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        shared.symlink_to(tmp_path / "elsewhere")
    elif kind == "dangling":
        shared.symlink_to(tmp_path / "nowhere")
    elif kind == "file":
        shared.touch()
    elif kind == "fifo":
        os.mkfifo(shared)
    else:
        shared.mkdir()
        shared.chmod(0o777)
        monkeypatch.setattr("os.geteuid", lambda: 4242)  # somebody else made it
    start = time.monotonic()
    with pytest.raises(InputError, match="MIRROR_GPU_LOCKS") as caught, lock_gpu():
        pass
    assert time.monotonic() - start < 2
    assert str(shared) in str(caught.value) and ME in str(caught.value)


@pytest.mark.fault(
    stage="cluster",
    fault="a GPU's lock file is a link, a FIFO or a second name of another file",
    sees="the lock file, its owner and MIRROR_GPU_LOCKS, at once",
    survives="the file it points to is untouched",
)
@pytest.mark.parametrize("kind", ["link", "fifo", "hard link", "folder"])
def test_a_lock_file_of_another_kind_is_refused(shared: Path, tmp_path: Path, kind: str):
    prepare_folder(shared, shared=True)
    lock, precious = shared / "0.lock", tmp_path / "precious"
    precious.write_text("kept")
    if kind == "link":
        lock.symlink_to(precious)
    elif kind == "fifo":
        os.mkfifo(lock)
    elif kind == "folder":
        lock.mkdir()
    else:
        os.link(precious, lock)
    with pytest.raises(InputError, match=r"0\.lock.*owner.*MIRROR_GPU_LOCKS"), lock_gpu():
        pass
    assert precious.read_text() == "kept"


@pytest.mark.fault(
    stage="cluster",
    fault="another process keeps all GPUs locked",
    sees="its PID and user at once in the log; an error when the time limit of waiting is over",
    survives="nothing was computed",
)
def test_waiting_names_who_holds_and_ends(shared: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    prepare_folder(shared, shared=True)
    handle = open_lock(shared / "0.lock")
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        assert f"PID {os.getpid()} of {ME} (0.lock)" in holders(shared)
        monkeypatch.setenv("MIRROR_GPU_WAIT_H", "0.0001")
        told = f"held by PID {os.getpid()} of {ME}"
        with caplog.at_level("INFO"), pytest.raises(InputError, match=told), lock_gpu(poll_s=0.05):
            pass
        assert f"PID {os.getpid()} of {ME}" in caplog.text
    finally:
        os.close(handle)
    assert "does not name" in holders(shared)


def test_a_waiting_time_that_is_no_number_is_refused(shared: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIRROR_GPU_WAIT_H", "soon")
    with pytest.raises(InputError, match="MIRROR_GPU_WAIT_H: is 'soon'"), lock_gpu():
        pass
