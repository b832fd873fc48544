"""Plasmode patch features: simulated tiles for patients whose RNA, labels and survival are real.

Where no slides can be paired with real expression, tiles are drawn so that a part of their
variation follows the real RNA's leading principal components (what both modalities share) and
a part follows factors of the slide's own, which no outcome depends on. Whatever a method gains
here from the slide, it gains from what the RNA already holds: a plasmode shows that the whole
way works on real tables, and never that histology helps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..core.atomic import atomic_path


@dataclass(frozen=True)
class PlasmodeSettings:
    """Sizes and strengths.

    Attributes
    ----------
    factors : int
        Leading principal components of the RNA that the tiles follow, and as many own factors.
    width : int
        Features per tile.
    tiles : tuple of int
        Fewest and most tiles a slide.
    types : int
        Kinds of tissue; each shows the factors through loadings of its own.
    slide_noise : float
        SD of a patient-level disturbance of the shared factors: slides show them imperfectly.
    tile_noise : float
        SD of a tile's own noise, against unit-variance factors.
    """

    factors: int = 8
    width: int = 64
    tiles: tuple[int, int] = (48, 96)
    types: int = 4
    slide_noise: float = 0.7
    tile_noise: float = 2.0
    seed: int = 0


def leading_factors(expression: np.ndarray, n: int) -> np.ndarray:
    """First ``n`` principal components of standardised, clipped expression, unit variance.

    Parameters
    ----------
    expression : float (patients, genes)
    n : int

    Returns
    -------
    float64 (patients, n)
    """
    z = (expression - expression.mean(0)) / (expression.std(0) + 1e-9)
    z = np.clip(z, -5, 5)
    u, s, _ = np.linalg.svd(z - z.mean(0), full_matrices=False)
    scores = u[:, :n] * s[:n]
    return scores / scores.std(0)


def draw_bags(shared: np.ndarray, settings: PlasmodeSettings) -> list[np.ndarray]:
    """One bag of tile features per patient.

    Parameters
    ----------
    shared : float (patients, factors)
        What the RNA knows, unit variance.

    Returns
    -------
    list of float32 (tiles, width)
    """
    streams = np.random.SeedSequence(settings.seed).spawn(2)
    rng = np.random.default_rng(streams[0])
    k, d, types = shared.shape[1], settings.width, settings.types
    loadings = rng.normal(size=(types, 2 * k, d)) / np.sqrt(2 * k)
    centres = rng.normal(size=(types, d)) * 1.5
    bags = []
    for row, stream in zip(shared, streams[1].spawn(len(shared)), strict=True):
        own = np.random.default_rng(stream)
        factors = np.r_[row + own.normal(0, settings.slide_noise, k), own.normal(size=k)]
        n = int(own.integers(settings.tiles[0], settings.tiles[1] + 1))
        kind = own.choice(types, size=n, p=own.dirichlet(np.full(types, 2.0)))
        means = centres[kind] + np.einsum("f,nfd->nd", factors, loadings[kind])
        bags.append((means + own.normal(0, settings.tile_noise, (n, d))).astype(np.float32))
    return bags


def write_bags(folder: Path, names: list[str], bags: list[np.ndarray]) -> None:
    """Write ``{name}.pt``, one float32 tensor (tiles, width) a slide."""
    for name, bag in zip(names, bags, strict=True):
        with atomic_path(folder / f"{name}.pt") as part:
            torch.save(torch.from_numpy(bag), part)
