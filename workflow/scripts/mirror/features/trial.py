"""Tiling and embedding a few tiles of a few slides, to say how long all of them would take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from ..config.slides import EmbedSettings, SlideSettings
from ..core.errors import InputError
from ..core.progress import progress
from ..encoders.run import TileEncoder
from ..encoders.table import EncoderRow
from ..encoders.weights import find_weights
from ..slides.reading.iterate import iterate_tiles
from ..slides.reading.mpp import resolve_mpp
from ..slides.reading.open import open_slide
from ..slides.tiling.tile import Tiled, tiles_of
from .focus import focus_score

SLIDES = 3
SECONDS = 15.0  # of embedding, per slide and encoder
TILES = 2048  # at most, per slide and encoder
BATCH = 64


@dataclass(frozen=True)
class TriedSlide:
    """One slide that was tiled.

    Attributes
    ----------
    area_mm2 : float
        Scanned area.
    n_tiles : int
    seconds : float
        Wall time of finding its tiles with one thread.
    problem : str
        Why it could not be tiled; empty otherwise.
    """

    cohort: str
    slide_id: str
    area_mm2: float = 0.0
    n_tiles: int = 0
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class TriedEncoder:
    """One encoder that ran on tiles of those slides.

    Attributes
    ----------
    tiles : int
        Tiles that were read, decoded and encoded.
    seconds : float
        Wall time of that, without loading the encoder and without its first batch.
    device : str
        Name of the GPU, or ``CPU``.
    problem : str
        Why it was not tried; empty otherwise.
    """

    encoder: str
    tiles: int = 0
    seconds: float = 0.0
    device: str = ""
    problem: str = ""


@dataclass
class Trial:
    """What was tried."""

    slides: list[TriedSlide] = field(default_factory=list)
    encoders: list[TriedEncoder] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)


def choose_slides(slides: Sequence[Mapping[str, Any]], n: int = SLIDES) -> list[Mapping[str, Any]]:
    """A small, a middle and a large file among those that exist."""
    there = sorted((s for s in slides if s.get("size")), key=lambda s: (s["size"], s["slide_id"]))
    if len(there) <= n:
        return there
    return [there[int(len(there) * (2 * i + 1) / (2 * n))] for i in range(n)]


def try_slides(
    cohorts: Mapping[str, Sequence[Mapping[str, Any]]],
    rows: Sequence[Mapping[str, Any]],
    settings: SlideSettings,
    embed: EmbedSettings,
    threads: int = 2,
    seconds: float = SECONDS,
) -> Trial:
    """Tile three slides, and embed tiles of them for some seconds with each encoder whose weights are here.

    Parameters
    ----------
    cohorts : mapping
        Cohort to the rows of its slides.
    rows : sequence of mapping
        Rows of the encoder table.
    settings, embed
        As for tiling and embedding.
    threads : int
        Threads that read tiles.
    seconds : float
        Time for each slide and encoder.

    Returns
    -------
    Trial
        Nothing is written; what fails is said in it.
    """
    named = [{**slide, "cohort": cohort} for cohort, slides in cohorts.items() for slide in slides]
    trial, tiled = Trial(), []
    for slide in progress(choose_slides(named), "tiling a few slides", unit="slide"):
        tried, tiles = _tile(slide, settings)
        trial.slides.append(tried)
        if tiles is not None and len(tiles.table):
            tiled.append((slide, tiles))
    for given in rows:
        row = EncoderRow.model_validate(given)
        trial.encoders.append(_embed(row, tiled, settings, embed, threads, seconds))
    return trial


def _tile(slide: Mapping[str, Any], settings: SlideSettings) -> tuple[TriedSlide, Tiled | None]:
    started = time.perf_counter()
    cohort, name, path = slide["cohort"], slide["slide_id"], slide["slide_path"]
    used = settings.resolved()
    try:
        with open_slide(path, settings.backend) as opened:
            opened.deadline = time.monotonic() + 60 * settings.max_minutes
            tiled = tiles_of(opened, name, settings, slide.get("mpp"), mask_path=slide.get("mask"))
            mpp = resolve_mpp(opened.properties, slide.get("mpp"), path, used.resolution_conflict).value
            area = opened.bounds[2] * opened.bounds[3] * mpp**2 / 1e6
    except Exception as error:  # a damaged file may raise anything; doctor says it in another row
        text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        return TriedSlide(cohort, name, problem=" ".join(text.split())), None
    return TriedSlide(cohort, name, area, tiled.result.n_tiles, time.perf_counter() - started), tiled


def _embed(
    row: EncoderRow,
    tiled: Sequence[tuple[Mapping[str, Any], Tiled]],
    settings: SlideSettings,
    embed: EmbedSettings,
    threads: int,
    seconds: float,
) -> TriedEncoder:
    if not tiled:
        return TriedEncoder(row.name, problem="no slide of those tried has tiles")
    try:
        if row.weights != "random" and find_weights(row, embed.weights.get(row.name), download=False) is None:
            return TriedEncoder(row.name, problem="its weights are not on this machine")
        encoder = TileEncoder.load(row, embed)
        count, spent = 0, 0.0
        for slide, tiles in progress(tiled, f"embedding with {row.name}", unit="slide"):
            grid = tiles.table.grid
            size, level0 = int(grid["patch_size"]), float(grid["patch_size_level0"])
            first = max(0, (len(tiles.table) - TILES) // 2)  # neighbours share what is decoded, as in a whole slide
            some = tiles.table.coords[first : first + TILES]
            batches = iterate_tiles(
                slide["slide_path"], some, level0, size, embed.readers or threads, BATCH, settings.backend
            )
            started = time.perf_counter()
            for number, (_, pixels) in enumerate(islice(batches, 1 + TILES // BATCH)):
                for _ in encoder.encode([np.ascontiguousarray(pixels)]):
                    focus_score(pixels)
                if number == 0 and len(some) > BATCH and count == 0:  # the first batch sets the encoder up
                    started = time.perf_counter()
                    continue
                count += len(pixels)
                if time.perf_counter() - started > seconds:
                    break
            spent += time.perf_counter() - started
    except Exception as error:
        text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        return TriedEncoder(row.name, problem=" ".join(text.split()))
    return TriedEncoder(row.name, count, spent, _device(encoder))


def _device(encoder: TileEncoder) -> str:
    import torch

    return torch.cuda.get_device_name(encoder.device) if encoder.device.type == "cuda" else "CPU"
