"""Which pairs, and which unpaired slides and RNA vectors, each step of an epoch visits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.seeds import stream


@dataclass(frozen=True)
class Visit:
    """What one step visits on one rank.

    Attributes
    ----------
    pairs : ndarray of int64
        Numbers of pairs.
    slides : list of str
        Unpaired slides.
    rna : ndarray of int64
        Rows of unpaired RNA.
    """

    pairs: np.ndarray
    slides: list[str]
    rna: np.ndarray


class EpochPlan:
    """Orders drawn by (seed, epoch), cut into steps and shared among ranks.

    Every pair is visited once per epoch, but for a last batch too small to be cut evenly among ranks
    or to hold a contrast (one pair): those pairs wait for another epoch's order. Unpaired samples are
    spread over the steps, at most ``batch_size`` of each kind a step.

    Parameters
    ----------
    pairs : int
        Number of pairs.
    slides : sequence of str
        Unpaired slides.
    rna : ndarray of int64
        Rows of unpaired RNA.
    batch_size : int
        Pairs per step, all ranks together.
    seed, rank, world : int
        Of the run and of this process.
    """

    def __init__(
        self, pairs: int, slides: Sequence[str], rna: np.ndarray, batch_size: int, seed: int, rank: int, world: int
    ) -> None:
        self.pairs, self.seed, self.rank, self.world = pairs, seed, rank, world
        self.slides = np.array(list(slides), dtype=object)
        self.rna = np.asarray(rna, dtype=np.int64)
        self.size = max(batch_size - batch_size % world, world)
        rest = pairs % self.size
        self.steps = pairs // self.size + (rest - rest % world >= max(2, world))

    def visits(self, epoch: int) -> list[Visit]:
        """This rank's visits of one epoch."""
        rng = stream(self.seed, "order", epoch)
        order = rng.permutation(self.pairs)
        slides = np.array_split(rng.permutation(self.slides), self.steps)
        rna = np.array_split(rng.permutation(self.rna), self.steps)
        return [
            Visit(
                self._mine(order[step * self.size : (step + 1) * self.size]),
                list(self._mine(slides[step][: self.size])),
                self._mine(rna[step][: self.size]),
            )
            for step in range(self.steps)
        ]

    def _mine(self, rows: np.ndarray) -> np.ndarray:
        each = len(rows) // self.world
        return rows[self.rank * each : (self.rank + 1) * each]
