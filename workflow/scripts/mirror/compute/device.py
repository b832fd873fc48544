"""Which device and which precision."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..config.pretrain import PretrainSettings
from ..core.errors import InputError
from .gpus import VISIBLE, driver_version, held_gpus, lock_gpu

# Below this many numbers in a batch of tokens per second thread costs more than it brings.
SMALL_BATCH = 1 << 20


TRAINING = "pretrain.train.device"
"""The setting that names the device of training; patch encoders have ``embed.device``."""


def gpu_fault(index: int = 0) -> tuple[str, str] | None:
    """Why this process' PyTorch cannot use a GPU, and how to correct it; None where it can.

    Parameters
    ----------
    index : int
        Which of the visible devices.

    Returns
    -------
    (str, str) or None
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of what is said here
        if torch.cuda.is_available() and index < torch.cuda.device_count():
            return _kernel_fault(index)
    if torch.version.cuda is None and torch.version.hip is None:
        return (
            f"PyTorch {torch.__version__} in {sys.prefix} is a CPU build",
            "install a CUDA build into this environment (environments made by --use-conda: remove the folder under "
            "the conda prefix, and make it anew where pip finds the CUDA build)",
        )
    said = "no device is visible"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        said = (str(error).strip().splitlines() or [said])[0]
    if "too old" in said:
        have = driver_version()
        return (
            f"the NVIDIA driver{f' {have}' if have else ''} is older than PyTorch {torch.__version__} needs "
            f"(CUDA {torch.version.cuda})",
            "update the driver, or install a build of PyTorch for an older CUDA",
        )
    visible = os.environ.get(VISIBLE)
    shown = "" if visible is None else f", {VISIBLE} is `{visible}`"
    return (
        f"PyTorch sees no device ({said.rstrip('.')}{shown})",
        "look at `nvidia-smi` on this node; ask the cluster for a GPU (gpu: 1 in set-resources)",
    )


def _kernel_fault(index: int) -> tuple[str, str] | None:
    """Run one small kernel: a visible device may still be too old for the build, or taken by others."""
    try:
        torch.ones(8, device=torch.device("cuda", index)).add_(1).sum().item()
    except RuntimeError as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        name = torch.cuda.get_device_name(index)
        if "no kernel image" in said:
            return (
                f"PyTorch {torch.__version__} has no kernels for {name}",
                "install a build of PyTorch that supports this GPU",
            )
        return f"{name} does not compute ({said})", "look at `nvidia-smi`; another process may hold all of it"
    return None


def choose_device(name: str = "auto", local_rank: int = 0, setting: str = TRAINING) -> torch.device:
    """The device of a run.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}
        ``auto`` is the GPU where this process holds or sees one, and the CPU elsewhere.
    local_rank : int
        Which of the visible GPUs.
    setting : str
        Where ``name`` was set, for the message.

    Raises
    ------
    InputError
        This process holds a GPU that PyTorch cannot use, or ``cuda`` is named where there is none.
        A job that holds a GPU computes on the CPU only where the setting says cpu.
    """
    if name == "cpu":
        return torch.device("cpu")
    fault = gpu_fault(local_rank)
    if fault is None:
        return torch.device("cuda", local_rank)
    held = held_gpus()
    if not held and name == "auto":
        return torch.device("cpu")
    what = f"GPU {', '.join(held)} is held and cannot be used" if held else "no GPU can be used here"
    raise InputError(f"{what}: {fault[0]}", file=setting, remedy=f"{fault[1]}; or set {setting}: cpu")


@contextmanager
def hold_gpu(name: str, share: int = 1, setting: str = TRAINING) -> Iterator[torch.device]:
    """Lock a GPU where the machine has one, and see that PyTorch can use it before anything is read.

    Parameters
    ----------
    name, setting
        See `choose_device`.
    share : int
        See `lock_gpu`.

    Yields
    ------
    torch.device
    """
    with lock_gpu(share=share, wanted=name != "cpu"):
        yield choose_device(name, setting=setting)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of autocast: float32 on a CPU (unless bfloat16 is named), bfloat16 or float16 on a GPU."""
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and name == "float16":
        return torch.float32
    return named[name]


@contextmanager
def steady(device: torch.device, settings: PretrainSettings, threads: int | None) -> Iterator[None]:
    """Numerics that repeat: deterministic algorithms on a CPU, a number of threads that settings decide.

    Sums are cut by threads, so that their number shows in the last digits. Small models always run
    on one thread: their weights are then the same whatever ``--cores`` is.

    Parameters
    ----------
    device : torch.device
        Where the model runs.
    settings : PretrainSettings
        Sizes, and ``train.threads``.
    threads : int or None
        Threads that the job was given.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filling = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    precision = torch.get_float32_matmul_precision()
    batch = settings.train.batch_size * settings.model.tokens * settings.model.embed_dim
    wanted = settings.train.threads or (1 if batch < SMALL_BATCH else threads)
    try:
        if device.type == "cpu":
            torch.set_num_threads(wanted or before[0])
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        else:
            torch.set_float32_matmul_precision("high")
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.utils.deterministic.fill_uninitialized_memory = filling  # type: ignore[attr-defined]
        torch.set_float32_matmul_precision(precision)
