"""Independent pieces of work side by side, each on one thread.

Many small matrix products gain little from threads inside each product and lose a lot at
their barriers when the machine is busy. Here every worker computes whole pieces by itself;
torch releases the interpreter lock inside its operators.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")

_lock = threading.Lock()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _pool(workers: int) -> ThreadPoolExecutor:
    """The pool of this process (a fork does not inherit threads) with so many workers."""
    with _lock:
        key = (os.getpid(), workers)
        if key not in _pools:
            pool = ThreadPoolExecutor(workers, thread_name_prefix="heads")
            started = threading.Barrier(workers + 1)

            def start() -> None:
                torch.get_num_threads()  # torch's own start of a thread, which would undo the next line
                torch.set_num_threads(1)
                started.wait()

            for _ in range(workers):
                pool.submit(start)
            started.wait()
            # A worker's setting is also what torch gives to threads that start later: put it back.
            torch.set_num_threads(workers)
            _pools[key] = pool
        return _pools[key]


def for_each(function: Callable[[T], None], items: Iterable[T]) -> None:
    """Call ``function`` on every item without gradient, on as many threads as torch uses.

    The items must write to disjoint places. The first exception is raised.
    """

    inference = torch.is_inference_mode_enabled()  # which a thread of the pool would not know of

    def call(item: T) -> None:
        with torch.inference_mode(inference), torch.no_grad():
            function(item)

    workers = torch.get_num_threads()
    if workers == 1:
        for item in items:
            call(item)
    else:
        for _ in _pool(workers).map(call, items):
            pass
