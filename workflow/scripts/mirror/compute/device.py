"""Which device and which precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..config.pretrain import PretrainSettings

# Below this many numbers in a batch of tokens a second thread costs more than it brings.
SMALL_BATCH = 1 << 20


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of a run: as named, or (``auto``) a GPU where there is one."""
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        return torch.device("cuda", local_rank)
    return torch.device("cpu")


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
    filling = torch.utils.deterministic.fill_uninitialized_memory
    precision = torch.get_float32_matmul_precision()
    batch = settings.train.batch_size * settings.model.tokens * settings.model.embed_dim
    wanted = settings.train.threads or (1 if batch < SMALL_BATCH else threads)
    try:
        if device.type == "cpu":
            torch.set_num_threads(wanted or before[0])
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False
        else:
            torch.set_float32_matmul_precision("high")
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.utils.deterministic.fill_uninitialized_memory = filling
        torch.set_float32_matmul_precision(precision)
