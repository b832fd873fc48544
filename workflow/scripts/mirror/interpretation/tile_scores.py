"""Attention and prototype scores of tiles, slide by slide, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ..core.errors import InputError
from ..core.seeds import stream
from ..dataset.bags import BagSource
from ..io.features import FeatureFile
from ..io.slide_maps import SlideMap
from ..model.mirror import Mirror


def rows_as_encoded(bags: BagSource, slide: str, max_tokens: int, seed: int) -> np.ndarray:
    """Tiles of a slide in the order in which it was encoded: int64 (k,), of the usable rows.

    The order counts: positions enter the encoder, so that only this order gives the embedding's own
    attention. It repeats what `BagSource.whole` draws.
    """
    n = bags.length(slide)
    if 0 < max_tokens < n:
        return bags.draw(slide, max_tokens, seed, "encode")
    if bags.order == "raster":
        return np.arange(n)
    return stream(seed, "bag", "encode", slide).permutation(n)


def file_rows(bags: BagSource, slide: str) -> np.ndarray:
    """Rows of the feature file that the usable rows are (tiles out of focus are left out)."""
    file = FeatureFile(bags.path(slide))  # type: ignore[arg-type]
    if bags.min_focus is None:
        return np.arange(file.n)
    sharp = file.in_focus(bags.min_focus)
    return sharp if len(sharp) else np.arange(file.n)


def places(file: FeatureFile, rows: np.ndarray) -> tuple[np.ndarray | None, float]:
    """Top left corners of some tiles and their side, level-0 pixels; None where the features came without."""
    try:
        coords = file.coords
    except InputError:
        return None, float("nan")
    side = file.coord_attrs.get("patch_size_level0")
    if side is None:  # TRIDENT and CLAM name it; otherwise the grid's own step
        steps = (
            np.diff(np.unique(coords[:, 0])) if len(np.unique(coords[:, 0])) > 1 else np.diff(np.unique(coords[:, 1]))
        )
        side = steps.min() if len(steps) else 256
    return coords[rows], float(side)


@dataclass
class FoldTiles:
    """What one fold's test slides gave: candidates for galleries, and maps of some slides."""

    candidates: pd.DataFrame
    slide_means: pd.DataFrame
    maps: dict[str, SlideMap]


def scan_fold(
    model: Mirror,
    bags: BagSource,
    slides: Iterable[tuple[str, str]],
    chosen: np.ndarray,
    drawn: set[str],
    max_tokens: int,
    seed: int,
    keep: int,
    device: torch.device,
) -> FoldTiles:
    """Score every tile of a fold's test slides.

    Parameters
    ----------
    model : Mirror
        The fold's, in evaluation mode.
    bags : BagSource
    slides : iterable of (slide_id, patient_id)
        Test slides alone.
    chosen : int64 (C,)
        The chosen prototypes' numbers in this fold.
    drawn : set of str
        Slides that get a map.
    max_tokens, seed : int
        As the slides were encoded.
    keep : int
        Tiles per slide and prototype that are kept as candidates.
    device : torch.device

    Returns
    -------
    FoldTiles
        ``candidates``: prototype (number among the chosen), slide_id, patient_id, x, y, size, z.
        ``slide_means``: patient_id and the mean z of a slide's tiles for each of the chosen.
    """
    total, square, count = np.zeros(len(chosen)), np.zeros(len(chosen)), 0
    found: list[tuple] = []
    slide_means: list[np.ndarray] = []
    people: list[str] = []
    maps: dict[str, tuple] = {}
    place = np.full(model.settings.model.prototypes, -1)
    place[chosen] = np.arange(len(chosen))
    with torch.inference_mode():
        for slide, patient in slides:
            index = rows_as_encoded(bags, slide, max_tokens, seed)
            bag = bags.rows(slide, index).to(device)
            every = model.tile_prototypes(bag).float().cpu().numpy()
            scores = every[:, chosen]
            rows = file_rows(bags, slide)[index]
            file = FeatureFile(bags.path(slide))  # type: ignore[arg-type]
            coords, size = places(file, rows)
            total += scores.sum(0, dtype=np.float64)
            square += (scores.astype(np.float64) ** 2).sum(0)
            count += len(scores)
            slide_means.append(scores.mean(0, dtype=np.float64))
            people.append(patient)
            if coords is None:  # features that came without coordinates count, but cannot be shown
                continue
            for c in range(len(chosen)):
                for i in np.argsort(-scores[:, c], kind="stable")[:keep]:
                    found.append((c, slide, patient, int(coords[i, 0]), int(coords[i, 1]), size, float(scores[i, c])))
            if slide in drawn:
                attention = model.slide_attention(bag).mean(0).cpu().numpy()
                order = np.argsort(rows, kind="stable")
                share = attention / max(attention.sum(), 1e-12)
                maps[slide] = (coords[order], size, share[order], scores[order], place[every.argmax(1)][order])
    mean = total / max(count, 1)
    spread = np.sqrt(np.maximum(square / max(count, 1) - mean**2, 0))
    spread = np.where(spread > 1e-9, spread, np.inf)
    names = ["prototype", "slide_id", "patient_id", "x", "y", "size", "z"]
    table = pd.DataFrame(found, columns=names)
    number = table["prototype"].to_numpy(int)
    table["z"] = (table["z"].to_numpy() - mean[number]) / spread[number]
    done = {
        slide: SlideMap(coords, size, attention, ((scores - mean) / spread).astype(np.float32), won)
        for slide, (coords, size, attention, scores, won) in maps.items()
    }
    means = pd.DataFrame((np.reshape(slide_means, (-1, len(chosen))) - mean) / spread)
    means.insert(0, "patient_id", people)
    return FoldTiles(table, means, done)


def pick_gallery(
    candidates: pd.DataFrame, scores: pd.DataFrame, share: float, tiles: int, per_patient: int
) -> pd.DataFrame:
    """The nearest tiles of each prototype among the patients that it speaks of.

    Tiles are scored by the style of their tokens, which was trained on CLS alone: a tile may lie
    near a prototype in a slide that lies far from it. A gallery would then show what the
    prototype's associations with genes and outcome do not rest on.

    Parameters
    ----------
    candidates : DataFrame
        As :class:`FoldTiles` has them.
    scores : DataFrame (patients, prototypes)
        Out-of-fold scores.
    share : float
        Share of the patients, those who score a prototype highest, whose tiles may stand for it.
    tiles, per_patient : int
        Tiles of a gallery, and of one patient in it, at most.

    Returns
    -------
    DataFrame
        ``candidates``' rows and ``rank``, from 1 in each prototype.
    """
    bounds = scores.quantile(1 - share).to_numpy()
    column = candidates["prototype"].to_numpy(int)
    own = scores.reindex(candidates["patient_id"]).to_numpy()[np.arange(len(column)), column]
    ordered = candidates[own >= bounds[column]].sort_values(
        ["prototype", "z", "slide_id", "y", "x"], ascending=[True, False, True, True, True]
    )
    limited = ordered[ordered.groupby(["prototype", "patient_id"]).cumcount() < per_patient]
    limited = limited[limited.groupby("prototype").cumcount() < tiles]
    return limited.assign(rank=limited.groupby("prototype").cumcount() + 1).reset_index(drop=True)


def agreement(slide_means: pd.DataFrame, scores: pd.DataFrame) -> np.ndarray:
    """How far a prototype's tiles say what its slides say, float64 (C,).

    Spearman correlation, over patients, of the mean standardised score of a patient's tiles with
    the patient's own score; NaN where either is constant. Near 0, a map of the prototype shows
    something else than its associations.

    Parameters
    ----------
    slide_means : DataFrame
        ``patient_id`` and one column a prototype (its number).
    scores : DataFrame (patients, prototypes)
    """
    tiles = slide_means.groupby("patient_id").mean().reindex(scores.index)
    values = [
        tiles[c].corr(scores.iloc[:, c], method="spearman")
        if tiles[c].nunique() > 1 and scores.iloc[:, c].nunique() > 1
        else np.nan
        for c in range(scores.shape[1])
    ]
    return np.asarray(values, dtype=float)
