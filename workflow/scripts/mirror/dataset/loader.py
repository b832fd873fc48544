"""Bags on their way to the model: from memory, or read ahead by worker processes or a thread."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from .bags import BagSource

log = logging.getLogger("mirror.training")
SHARED_MEMORY = Path("/dev/shm")
AHEAD = 2
Request = tuple[int, tuple[str, ...]]


class _Batches(Dataset):
    """A request (epoch, slides) to a batch of bags."""

    def __init__(self, source: BagSource, tokens: int, seed: int) -> None:
        self.source, self.tokens, self.seed = source, tokens, seed

    def __getitem__(self, request: Request) -> Tensor:
        epoch, slides = request
        return self.source.batch(slides, self.tokens, self.seed, epoch)


class _Plan(Sampler):
    """The requests of the epoch at hand; changed in place, so that workers live through epochs."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)


class BagLoader:
    """Serves batches of bags in the order asked for, whoever reads them.

    Workers are started only where the features are not kept in memory; a bag follows from (seed,
    epoch, slide), so that the number of workers changes nothing but time.

    Parameters
    ----------
    source : BagSource
        Where bags are drawn.
    tokens, seed : int
        Rows a bag and the run's seed.
    workers : int
        Reading processes, at most.
    largest : int
        Slides in the largest batch, to judge the shared memory that workers need.
    device : torch.device
        Where batches are used; for a GPU they are pinned and read ahead.
    """

    def __init__(
        self, source: BagSource, tokens: int, seed: int, workers: int, largest: int, device: torch.device
    ) -> None:
        self.data = _Batches(source, tokens, seed)
        self.cuda = device.type == "cuda"
        self.workers = 0 if source.cached else self._allowed(workers, largest * tokens * source.width * 4)
        self._plan = _Plan()
        self._loader: DataLoader | None = None
        if self.workers:
            self._loader = DataLoader(
                self.data,
                batch_size=None,
                sampler=self._plan,
                num_workers=self.workers,
                prefetch_factor=AHEAD,
                persistent_workers=True,
                pin_memory=self.cuda,
                multiprocessing_context="fork",
            )

    @staticmethod
    def _allowed(workers: int, batch_bytes: int) -> int:
        """As many workers as shared memory has room for: where it is short they would die of a bus error."""
        if workers == 0 or not SHARED_MEMORY.is_dir():
            return 0
        free = 0.8 * shutil.disk_usage(SHARED_MEMORY).free
        fitting = min(workers, int(free // (batch_bytes * (AHEAD + 1))))
        if fitting < workers:
            log.info("Shared memory has room for %d of %d reading processes", fitting, workers)
        return fitting

    def epoch(self, epoch: int, batches: Sequence[Sequence[str]]) -> Iterator[Tensor]:
        """Serve batches of one epoch.

        Parameters
        ----------
        epoch : int
            The epoch, part of each bag's seed.
        batches : sequence of sequence of str
            Slides of each batch.

        Yields
        ------
        Tensor
            float32 (B, tokens, D) on the CPU.
        """
        requests = [(epoch, tuple(slides)) for slides in batches]
        if self._loader is not None:
            self._plan.requests = requests
            yield from self._loader
        elif self.cuda:
            yield from self._threaded(requests)
        else:
            yield from map(self.data.__getitem__, requests)

    def _threaded(self, requests: Sequence[Request]) -> Iterator[Tensor]:
        """Make the next batch while the GPU computes this one."""
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self._pinned, request) for request in requests[:AHEAD]]
            for i in range(len(requests)):
                yield waiting.pop(0).result()
                if i + AHEAD < len(requests):
                    waiting.append(pool.submit(self._pinned, requests[i + AHEAD]))

    def _pinned(self, request: Request) -> Tensor:
        batch = self.data[request]
        return batch.pin_memory() if torch.cuda.is_available() else batch
