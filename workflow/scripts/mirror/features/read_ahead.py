"""Reading tiles ahead of the encoder, in a thread and in bounded memory."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

_END = object()
AHEAD = 3


class ReadAhead:
    """Read batches of tiles in a thread; at most ``AHEAD`` wait, so memory does not grow.

    Parameters
    ----------
    batches : callable
        Called in the thread; gives pairs of row numbers (B,) and uint8 tiles (B, h, w, 3), in any order.
    score : callable, optional
        Maps such a batch to (B,) scores, while the pixels are at hand.
    pin : bool
        Copy batches to pinned memory.
    """

    def __init__(
        self,
        batches: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]],
        score: Callable[[np.ndarray], np.ndarray] | None = None,
        pin: bool = False,
    ) -> None:
        self._batches, self._score, self._pin = batches, score, pin
        self._queue: queue.Queue = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self.taken: deque[tuple[np.ndarray, np.ndarray | None]] = deque()
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def _put(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def _run(self) -> None:
        try:
            for rows, batch in self._batches():
                scores = None if self._score is None else self._score(batch)
                tiles = torch.from_numpy(batch)
                if not self._put((tiles.pin_memory() if self._pin else tiles, (rows, scores))):
                    return
            self._put((_END, None))
        except Exception as error:  # handed to the reader of this thread, which raises it
            self._put((_END, error))

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the tiles as read, their rows and scores queueing up in ``taken``; raise the thread's error, if any."""
        while True:
            item, extra = self._queue.get()
            if item is _END:
                if extra is not None:
                    raise extra
                return
            self.taken.append(extra)
            yield item

    @property
    def read(self) -> bool:
        """Whether the thread has read everything."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """End the thread, also in the middle."""
        self._stop.set()
        self._thread.join()
