"""The training state: what a killed run needs to go on as if it had not been killed.

Random draws are seeded by (seed, epoch, step), so that no generator's state has to be kept; what
is kept is the weights, the optimiser, the scaler, the averaged weights, the place in the run, the
running sums of the epoch and the rows of the log.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ..core.atomic import atomic_path

log = logging.getLogger("mirror.training")
VERSION = 1
# Share of the run's time that saving at the ends of epochs may take.
SAVING_SHARE = 0.05
# What a damaged pickle may raise before its damage is seen.
UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
)  # fmt: skip


def state_key(parts: dict[str, Any]) -> str:
    """Hash (16 hex digits) of everything that decides the weights: configuration, seed, data, versions."""
    text = json.dumps({"version": VERSION, "torch": torch.__version__, **parts}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class StateStore:
    """One run's training state, in ``{folder}/{name}-{key}/state.pt``.

    Parameters
    ----------
    folder : path-like
        An undeclared folder, which Snakemake leaves alone.
    name : str
        The run (its checkpoint's name).
    key : str
        `state_key`; a state under another key is of another configuration and is never read.
    save_minutes : float
        Longest time between two states.
    """

    def __init__(self, folder: str | Path, name: str, key: str, save_minutes: float) -> None:
        self.root, self.name, self.key = Path(folder), name, key
        self.folder = self.root / f"{name}-{key}"
        self.path = self.folder / "state.pt"
        self.every_s = 60 * save_minutes
        self._saved = time.monotonic()
        self._cost_s = 0.0

    def load(self) -> dict[str, Any] | None:
        """The saved state on the CPU, or None; an unreadable one is reported and left out.

        Read with ``weights_only=True``: a state that would run code is refused like a broken one.
        """
        if not self.path.is_file():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            if state["key"] != self.key or state["version"] != VERSION:
                raise ValueError("it belongs to another configuration")
        except UNREADABLE as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            log.warning("%s: the training state cannot be used and training starts anew (%s)", self.path, reason[:200])
            return None
        return state

    def due(self, epoch_end: bool) -> bool:
        """Whether to save now: after ``save_minutes``, and at an epoch's end where that costs little."""
        passed = time.monotonic() - self._saved
        return passed >= self.every_s or (epoch_end and passed >= self._cost_s / SAVING_SHARE)

    def save(self, state: dict[str, Any]) -> None:
        """Save atomically. A full disk is reported and does not end the training."""
        start = time.monotonic()
        try:
            with atomic_path(self.path) as part:
                torch.save({"key": self.key, "version": VERSION, **state}, part)
        except (OSError, RuntimeError) as error:
            log.warning("%s: the training state could not be saved (%s); training goes on", self.path, error)
        self._saved = time.monotonic()
        self._cost_s = self._saved - start

    def clear(self) -> None:
        """Remove this run's states, those of earlier configurations with it: the checkpoint is written."""
        for folder in self.root.glob(f"{self.name}-*"):
            if len(folder.name) == len(self.name) + 17 and folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
        # Fails, rightly, where states of other runs are in it.
        with suppress(OSError):
            self.root.rmdir()
