"""Maps of slides: where attention and prototypes lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class SlideMap:
    """One slide's tiles in the order of the feature file.

    Attributes
    ----------
    coords : int64 (n, 2)
        Top left, level-0 pixels.
    size : float
        Side, level-0 pixels.
    attention : float32 (n,)
        Of CLS, mean over heads, summing to one over the tiles shown.
    scores : float32 (n, C)
        Of the chosen prototypes, in standard deviations over the fold's test tiles.
    won : int64 (n,)
        Which chosen prototype scores highest of all K; -1 where it is another one.
    """

    coords: np.ndarray
    size: float
    attention: np.ndarray
    scores: np.ndarray
    won: np.ndarray


def read_maps(path: str | Path) -> dict[str, SlideMap]:
    """Read ``maps.npz``."""
    with np.load(path, allow_pickle=False) as file:
        slides = dict.fromkeys(name.rsplit("/", 1)[0] for name in file.files)
        return {
            s: SlideMap(
                file[f"{s}/coords"],
                float(file[f"{s}/size"]),
                file[f"{s}/attention"],
                file[f"{s}/scores"],
                file[f"{s}/won"],
            )
            for s in slides
        }
