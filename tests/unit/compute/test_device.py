"""A GPU that is held is used, or the job stops at once and says how to correct it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
import torch

from mirror.compute import device
from mirror.compute.device import choose_device, gpu_fault, hold_gpu
from mirror.compute.finding import gpu_finding
from mirror.core.errors import InputError

SMI = """#!/bin/sh
case "$*" in
  -L) echo "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-2222-3333-4444-555555555555)" ;;
  *driver_version*) echo "470.57.02" ;;
esac
"""
UUID = "GPU-11111111-2222-3333-4444-555555555555"


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine where nothing tells of a GPU."""
    for name in ("CUDA_VISIBLE_DEVICES", "MIRROR_FAKE_GPUS", "SLURM_JOB_GPUS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MIRROR_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setattr("mirror.compute.gpus._ask_driver", list)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine whose driver tells of one GPU."""
    for name in ("CUDA_VISIBLE_DEVICES", "MIRROR_FAKE_GPUS", "SLURM_JOB_GPUS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MIRROR_GPU_LOCKS", str(tmp_path / "locks"))
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(SMI)
    smi.chmod(smi.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{smi.parent}{os.pathsep}{os.environ['PATH']}")


def pretend_torch(monkeypatch: pytest.MonkeyPatch, said: str | None, cuda: str | None = "13.0") -> None:
    """PyTorch built for ``cuda`` whose start says ``said``; None works."""

    def init() -> None:
        if said is not None:
            raise RuntimeError(said)

    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: said is None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(said is None))
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: "NVIDIA A100")
    monkeypatch.setattr(device, "_kernel_fault", lambda index: None)


FAULTS = {
    "cpu_build": ("Torch not compiled with CUDA enabled", None, r"is a CPU build.*install a CUDA build"),
    "old_driver": (
        "The NVIDIA driver on your system is too old (found version 11040). Please update.",
        "13.0",
        r"driver 470\.57\.02 is older than PyTorch .* needs \(CUDA 13\.0\).*update the driver",
    ),
    "no_device": ("No CUDA GPUs are available", "13.0", r"PyTorch sees no device \(No CUDA GPUs are available"),
}


@pytest.mark.fault(
    stage="training",
    fault="a GPU is held and this PyTorch cannot use it: a CPU build, a driver that is too old, no visible device",
    sees="which of these, and how to correct it, before anything is read",
    survives="everything finished before",
)
@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_held_gpu_that_cannot_be_used_stops_the_job(gpu, monkeypatch, kind, name):
    said, cuda, message = FAULTS[kind]
    pretend_torch(monkeypatch, said, cuda)
    wanted = f"GPU {UUID} is held and cannot be used: .*{message}.*pretrain.train.device: cpu"
    with pytest.raises(InputError, match=wanted), hold_gpu(name):
        raise AssertionError("went on without its GPU")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ, "and gives the GPU back"


def test_the_cpu_is_used_where_it_is_asked_for(gpu, monkeypatch):
    pretend_torch(monkeypatch, FAULTS["cpu_build"][0], None)
    with hold_gpu("cpu") as chosen:
        assert chosen.type == "cpu" and "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_gpu_that_works_is_used(gpu, monkeypatch):
    pretend_torch(monkeypatch, None)
    with hold_gpu("auto") as chosen:
        assert chosen == torch.device("cuda", 0)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == UUID


def test_a_machine_without_gpus_computes_on_the_cpu(no_gpu, monkeypatch):
    for said, cuda, _ in FAULTS.values():
        pretend_torch(monkeypatch, said, cuda)
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(InputError, match="no GPU can be used here"):
            choose_device("cuda")


def test_slurms_allocation_counts_where_no_driver_answers(no_gpu, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_GPUS", "2")
    pretend_torch(monkeypatch, FAULTS["no_device"][0])
    with pytest.raises(InputError, match="GPU 2 is held"):
        choose_device("auto")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    assert choose_device("auto") == torch.device("cpu")


def test_cuda_visible_devices_counts_where_no_driver_answers(no_gpu, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    pretend_torch(monkeypatch, FAULTS["no_device"][0])
    with pytest.raises(InputError, match=r"GPU 1 is held.*CUDA_VISIBLE_DEVICES is `1`"):
        choose_device("auto", setting="embed.device")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("CUDA error: no kernel image is available for execution on the device", "has no kernels for NVIDIA A100"),
        ("CUDA error: all CUDA-capable devices are busy or unavailable", "NVIDIA A100 does not compute"),
    ],
)
def test_a_gpu_that_no_kernel_runs_on_is_one_that_cannot_be_used(gpu, monkeypatch, said, message):
    kernel_fault = device._kernel_fault
    pretend_torch(monkeypatch, None)
    monkeypatch.setattr(device, "_kernel_fault", kernel_fault)

    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError(said + "\nmore text of CUDA")

    monkeypatch.setattr(torch, "ones", refuse)
    with pytest.raises(InputError, match=message), hold_gpu("auto"):
        raise AssertionError("went on without its GPU")


def test_this_pytorch_says_what_it_is(gpu):
    """Nothing of PyTorch is pretended here."""
    fault = gpu_fault()
    if torch.version.cuda is None and torch.version.hip is None:
        assert fault is not None and "is a CPU build" in fault[0]
        with pytest.raises(InputError, match="CPU build"):
            choose_device("auto")
    elif not torch.cuda.is_available():
        assert fault is not None and "CPU build" not in fault[0]
    else:
        assert fault is None


@pytest.mark.parametrize("kind", FAULTS)
def test_the_doctor_says_what_would_stop_a_job(gpu, monkeypatch, kind):
    said, cuda, message = FAULTS[kind]
    pretend_torch(monkeypatch, said, cuda)
    found = gpu_finding("train", "pretrain.train.device")
    assert found.state == "problem"
    assert re.search(message, found.detail)


def test_the_doctor_says_which_pytorch_computes_where(gpu, monkeypatch):
    pretend_torch(monkeypatch, None)
    found = gpu_finding("embed", "embed.device")
    assert found.state == "ok" and found.detail.endswith("(CUDA 13.0) computes on NVIDIA A100")


def test_a_login_node_without_a_gpu_is_no_problem(no_gpu, monkeypatch):
    pretend_torch(monkeypatch, FAULTS["no_device"][0])
    found = gpu_finding("train", "pretrain.train.device")
    assert found.state == "ok" and "no GPU on this node" in found.detail
