"""Plain simulated features: pairs with known factors, without slides to render or embed.

A slide is a bag of tiles of a few kinds of tissue. Its shared and slide-only factors change how
much of each kind it holds, and how each kind looks (a random one-layer network of the factors,
one a kind, with tanh); every tile adds noise of its own. The bag's mean is therefore neither a
linear nor a complete view of the factors. RNA is raw counts of `mirror.simulation.world`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .world import draw_counts, draw_factors, draw_outcomes

PER_MILLION = 1e6
OWN = ("slide", "rna")


@dataclass(frozen=True)
class FeatureSettings:
    """Sizes and strengths.

    Attributes
    ----------
    train, fresh : int
        Pairs to train on, and pairs never seen in training.
    tiles, width : int
        Tiles per bag, and features per tile.
    genes : int
        Genes; each visible factor moves 6 % of them.
    kinds, hidden : int
        Kinds of tissue, and hidden units of each kind's look.
    gain : float
        SD of the tanh units' input: above about 1 they saturate.
    mixing : float
        SD of the kinds' log-odds that the factors explain.
    spread : float
        SD of a kind's look that the factors do not explain, a slide at a time.
    noise : float
        SD of a tile's own noise; a kind's centre has SD 1.
    """

    train: int = 400
    fresh: int = 400
    tiles: int = 64
    width: int = 64
    genes: int = 400
    kinds: int = 4
    hidden: int = 48
    gain: float = 0.8
    mixing: float = 0.5
    spread: float = 0.1
    noise: float = 1.0


@dataclass(frozen=True)
class FeatureWorld:
    """Simulated pairs; the first ``train`` rows of everything are the training pairs.

    Attributes
    ----------
    factors : DataFrame (n, 12)
    bags : ndarray float32 (n, tiles, width)
    expression : ndarray float32 (n, genes)
        log1p of counts per million, standardised on the training pairs.
    outcomes : dict of str to DataFrame (n)
        subtype, os_days, os_event that follow the ``shared``, the ``own``, or ``all`` factors.
    train : int
    """

    factors: pd.DataFrame
    bags: np.ndarray
    expression: np.ndarray
    outcomes: dict[str, pd.DataFrame]
    train: int


def draw_bags(factors: np.ndarray, settings: FeatureSettings, rng: np.random.Generator) -> np.ndarray:
    """Tiles of every slide.

    Parameters
    ----------
    factors : ndarray (n, k)
        What the slide shows: shared and slide-only factors.
    settings : FeatureSettings
    rng : Generator

    Returns
    -------
    ndarray float32 (n, tiles, width)
    """
    (n, k), s = factors.shape, settings
    centres = rng.standard_normal((s.kinds, s.width))
    into = rng.standard_normal((s.kinds, k, s.hidden)) * s.gain / np.sqrt(k)
    out = rng.standard_normal((s.kinds, s.hidden, s.width)) / np.sqrt(s.hidden)
    shares = factors @ (rng.standard_normal((k, s.kinds)) * s.mixing / np.sqrt(k))
    looks = np.tanh(np.einsum("nk,tkh->nth", factors, into))
    looks = centres + np.einsum("nth,thw->ntw", looks, out)
    looks += s.spread * rng.standard_normal(looks.shape)
    odds = shares[:, None] + rng.gumbel(size=(n, s.tiles, s.kinds))  # the largest is a draw by the shares
    kind = odds.argmax(2)
    tiles = looks[np.arange(n)[:, None], kind] + s.noise * rng.standard_normal((n, s.tiles, s.width))
    return tiles.astype(np.float32)


def outcomes_of(factors: pd.DataFrame, which: str, rng: np.random.Generator) -> pd.DataFrame:
    """Outcomes of `mirror.simulation.world.draw_outcomes` that follow some of the factors alone.

    That function reads the groups' sum: here the groups are replaced so that the sum has the same
    variance and holds only the wanted ones. The outcomes are as strong as the simulated cohort's.

    Parameters
    ----------
    factors : DataFrame (n, 12)
    which : {"shared", "own", "all"}
    rng : Generator

    Returns
    -------
    DataFrame (n): subtype, os_days, os_event
    """
    changed = factors.copy()
    for name in factors:
        group, _, number = str(name).partition("_")
        if which == "shared":
            changed[name] = factors[f"shared_{number}"] / np.sqrt(3)
        elif which == "own":
            changed[name] = factors[name] * np.sqrt(3 / 2) if group in OWN else 0.0
    return draw_outcomes(changed, rng)


def draw_features(settings: FeatureSettings, seed: int) -> FeatureWorld:
    """Draw pairs of slides and RNA with known factors; the same seed gives the same pairs."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence([seed, 811]).spawn(4)]
    n = settings.train + settings.fresh
    factors = draw_factors(n, streams[0])
    seen = [name for name in factors if not name.startswith("rna_")]
    bags = draw_bags(factors[seen].to_numpy(), settings, streams[1])
    counts, _, _ = draw_counts(factors, settings.genes, streams[2])
    expression = np.log1p(counts.T / counts.sum(0)[:, None] * PER_MILLION)
    fit = expression[: settings.train]
    scale = fit.std(0)
    expression = (expression - fit.mean(0)) / np.where(scale > 0, scale, 1.0)
    outcomes = {which: outcomes_of(factors, which, streams[3]) for which in ("shared", "own", "all")}
    return FeatureWorld(factors, bags, expression.astype(np.float32), outcomes, settings.train)
