"""Several processes that train one model, one a GPU (or, in tests, gloo processes on a CPU)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


@dataclass(frozen=True)
class Group:
    """This process among those that train together; rank 0 of 1 when alone."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files and the log."""
        return self.rank == 0

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all ranks in rank order, with gradient to each; (b, ...) to (world * b, ...).

        Every rank computes the loss of the whole batch, and the gradients that flow back through the
        gathering are summed over ranks; divided by the number of ranks, as DDP does with every
        parameter's gradient, they are those of one process with the whole batch.
        """
        return rows if self.world == 1 else torch.cat(all_gather(rows.contiguous()))

    def gather_constant(self, rows: Tensor) -> Tensor:
        """Rows of all ranks in rank order, without gradient."""
        if self.world == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.world)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def all_true(self, flag: Tensor) -> bool:
        """Whether a scalar bool tensor is true on every rank."""
        if self.world > 1:
            flag = flag.to(torch.int32)
            dist.all_reduce(flag, op=dist.ReduceOp.MIN)
        return bool(flag)

    def share(self, value: Any) -> list[Any]:
        """A small object of every rank, in rank order."""
        if self.world == 1:
            return [value]
        parts: list[Any] = [None] * self.world
        dist.all_gather_object(parts, value)
        return parts

    def from_first(self, value: Any) -> Any:
        """Rank 0's object on every rank."""
        if self.world == 1:
            return value
        parts = [value]
        dist.broadcast_object_list(parts, src=0)
        return parts[0]

    def mean(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalars averaged over ranks; every rank must give the same names."""
        if self.world == 1 or not values:
            return values
        packed = torch.stack([v.detach().float() for v in values.values()])
        dist.all_reduce(packed)
        return dict(zip(values, packed / self.world, strict=True))

    def slice(self, n: int) -> slice:
        """This rank's part of ``n`` rows; ``n`` is a multiple of the number of ranks."""
        each = n // self.world
        return slice(self.rank * each, (self.rank + 1) * each)


@contextmanager
def process_group(device: torch.device, timeout_min: float = 60.0) -> Iterator[Group]:
    """The group that torchrun started this process in, or a group of one.

    NCCL on GPUs, gloo on CPUs. Rank, world and addresses are read from torchrun's environment.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        yield Group()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=timeout_min))
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
        # DDP may leave a collective unfinished (its map of unused parameters): a rank that left first
        # would keep the others waiting for ever.
        dist.barrier()
    finally:
        dist.destroy_process_group()
