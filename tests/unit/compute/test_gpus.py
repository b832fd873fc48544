"""GPUs are lent one per job: on a machine whose devices are faked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from mirror.compute.gpus import list_gpus, lock_gpu
from mirror.core.errors import InputError
from training_world import LIBRARY

BUSY = 0.05


@pytest.fixture(autouse=True)
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR_FAKE_GPUS", "2")
    monkeypatch.setenv("MIRROR_GPU_LOCKS", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def holder(folder: Path, share: int = 1) -> subprocess.Popen:
    """A process that holds a GPU until it is killed; it has told which before this returns."""
    code = (
        "import os, time\nfrom mirror.compute.gpus import lock_gpu\n"
        f"with lock_gpu(share={share}, poll_s=0.05):\n"
        "    print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\n    time.sleep(60)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)


def test_each_job_sees_one_device_of_its_own() -> None:
    with lock_gpu() as first:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == first[0]
        inside = os.environ.pop("CUDA_VISIBLE_DEVICES")
        with lock_gpu() as second:
            assert {first[0], second[0]} == {"0", "1"}
            os.environ.pop("CUDA_VISIBLE_DEVICES")
            with pytest.raises(InputError, match="no GPU came free"), lock_gpu(poll_s=BUSY, timeout_s=0.2):
                pass
        os.environ["CUDA_VISIBLE_DEVICES"] = inside
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    with lock_gpu(count=2) as both:
        assert both == ["0", "1"] and os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.fault(
    stage="cluster",
    fault="kill -9 of a job that holds a GPU",
    sees="nothing",
    survives="the GPU is free at once, for the job that waits",
)
def test_jobs_queue_and_a_killed_job_frees_its_device(tmp_path: Path) -> None:
    jobs = [holder(tmp_path), holder(tmp_path)]
    try:
        seen = {job.stdout.readline().strip() for job in jobs}
        assert seen == {"0", "1"}
        got: list[str] = []

        def wait() -> None:
            with lock_gpu(poll_s=BUSY, timeout_s=30) as held:
                got.extend(held)

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(4 * BUSY)
        assert not got, "all devices are busy"
        jobs[0].send_signal(signal.SIGKILL)
        waiting.join(timeout=20)
        assert len(got) == 1
    finally:
        for job in jobs:
            job.kill()
            job.wait()
            job.stdout.close()


def test_small_jobs_share_a_device_and_large_ones_do_not() -> None:
    with ExitStack() as stack:
        held = []
        for _ in range(4):
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            held += stack.enter_context(lock_gpu(share=2))
        assert sorted(held) == ["0", "0", "1", "1"]
        for share in (1, 2):
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            with pytest.raises(InputError, match="no GPU came free"), lock_gpu(share, poll_s=BUSY, timeout_s=0.1):
                pass
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)


@pytest.mark.fault(
    stage="cluster",
    fault="jobs that want several GPUs at once",
    sees="that they wait",
    survives="none holds half of what it needs",
)
def test_several_are_taken_all_or_none() -> None:
    with lock_gpu():
        os.environ.pop("CUDA_VISIBLE_DEVICES")
        with pytest.raises(InputError, match="no GPU came free"), lock_gpu(count=2, poll_s=BUSY, timeout_s=0.1):
            pass
        with lock_gpu(timeout_s=0.1) as held:
            assert held == ["1"], "the one that was free stayed free"
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)


@pytest.mark.fault(
    stage="cluster",
    fault="more GPUs asked for than Slurm gave",
    sees="how many were asked for and how many are here",
    survives="the other jobs' GPUs",
)
def test_what_slurm_gave_narrows_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR_FAKE_GPUS", "GPU-a,GPU-b,GPU-c")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-a")
    assert list_gpus() == ["GPU-c", "GPU-a"]
    with lock_gpu() as held:
        assert held == ["GPU-c"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,GPU-a"
    with pytest.raises(InputError, match="3 GPUs were asked for and 2 are here"), lock_gpu(count=3):
        pass
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert list_gpus() == []


def test_without_gpus_nothing_is_locked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with lock_gpu(wanted=False) as held:
        assert held == [] and not list(tmp_path.glob("*.lock"))
    monkeypatch.setenv("MIRROR_FAKE_GPUS", "0")
    with lock_gpu(count=4) as held:
        assert held == [] and "CUDA_VISIBLE_DEVICES" not in os.environ


def test_the_driver_s_list_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MIRROR_FAKE_GPUS")
    script = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    lines = ["GPU 0: H (UUID: GPU-1)", "GPU 1: H (UUID: GPU-2)"]
    for extra, expected in (
        ([], ["GPU-1", "GPU-2"]),
        (["  MIG 1g.10gb     Device  0: (UUID: MIG-7)"], ["MIG-7"]),
    ):
        script.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in [*lines, *extra]))
        script.chmod(0o755)
        assert list_gpus() == expected
    script.write_text("#!/bin/sh\nexit 9\n")
    assert all(name.isdigit() for name in list_gpus())
