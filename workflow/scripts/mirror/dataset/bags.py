"""Bags of patch features: random rows read from HDF5, never the whole slide unless it is to be kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..core.errors import InputError
from ..core.seeds import stream
from ..io.features import FeatureFile

log = logging.getLogger("mirror.bags")


@dataclass(frozen=True)
class Affine:
    """``x * scale + shift`` of each patch feature, float32 (D,) each."""

    scale: torch.Tensor
    shift: torch.Tensor

    @classmethod
    def between(cls, source: tuple[np.ndarray, np.ndarray], target: tuple[np.ndarray, np.ndarray]) -> Affine:
        """The map that brings one location and scale (D,) to another."""
        scale = target[1] / source[1]
        shift = target[0] - scale * source[0]
        return cls(torch.from_numpy(scale.astype(np.float32)), torch.from_numpy(shift.astype(np.float32)))

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Map (k, D)."""
        return rows * self.scale + self.shift


class BagSource:
    """Draws bags from feature files (or arrays) by (seed, epoch, slide).

    The same seed, epoch and slide give the same bag in whichever process and order it is drawn.
    Safe with forked workers: no file stays open between calls.

    Parameters
    ----------
    slides : mapping of str to path-like or ndarray
        Feature file (TRIDENT form) of each slide, or the features themselves, float (n, D).
    cache_gb : float
        Keep every slide in memory after its first visit when all of them fit into this many
        gigabytes (float32); otherwise none is kept and rows are read at every visit.
    n_tiles : mapping of str to int, optional
        Tiles of each slide, to judge the size without opening the files.
    order : {"random", "raster"}
        Order of the tokens: as drawn, or as on the slide.
    min_focus : float, optional
        Leave out tiles whose focus score is lower; a slide that would keep none keeps all.
    maps : mapping of str to Affine, optional
        What the features of a slide go through when they are read.

    Raises
    ------
    InputError
        When a file is missing, or (when it is read) empty or of another width than the first.
    """

    def __init__(
        self,
        slides: Mapping[str, str | Path | np.ndarray],
        cache_gb: float = 0.0,
        n_tiles: Mapping[str, int] | None = None,
        order: str = "random",
        min_focus: float | None = None,
        maps: Mapping[str, Affine] | None = None,
    ) -> None:
        self.maps = dict(maps or {})
        self._files: dict[str, Path] = {}
        self._opened: dict[str, FeatureFile] = {}
        self._sharp: dict[str, np.ndarray] = {}
        self._kept: dict[str, torch.Tensor] = {}
        for slide, source in slides.items():
            if isinstance(source, np.ndarray):
                self._kept[slide] = torch.from_numpy(np.ascontiguousarray(source, dtype=np.float32))
            else:
                self._files[slide] = Path(source)
        missing = [slide for slide, path in self._files.items() if not path.is_file()]
        if missing:
            more = f" (and those of {len(missing) - 1} more slides)" if len(missing) > 1 else ""
            raise InputError(
                f"the patch features are missing{more}",
                file=self._files[missing[0]],
                row=f"slide {missing[0]}",
                remedy="run the embedding step again; it makes only what is missing",
            )
        self.order = order
        self.min_focus = min_focus
        self.width = self._first_width()
        self.gigabytes = self._size(n_tiles or {}) if cache_gb > 0 else float("inf")
        self.cached = not self._files or self.gigabytes <= cache_gb

    def _first_width(self) -> int:
        if self._kept:
            widths = {tensor.shape[1] for tensor in self._kept.values()}
            if len(widths) > 1:
                raise InputError(f"features of several widths: {sorted(widths)}")
            return widths.pop()
        for path in self._files.values():
            return FeatureFile(path).width
        return 0

    def _size(self, n_tiles: Mapping[str, int]) -> float:
        """Memory that all features would take as float32, GB."""
        tiles = sum(int(n_tiles[slide]) if slide in n_tiles else self._open(slide).n for slide in self._files)
        return tiles * self.width * 4e-9

    @property
    def slides(self) -> list[str]:
        """Slides that can be drawn from."""
        return [*self._kept, *(s for s in self._files if s not in self._kept)]

    def path(self, slide: str) -> Path | None:
        """The slide's feature file; None where features were given as arrays."""
        return self._files.get(slide)

    def length(self, slide: str) -> int:
        """Number of usable tiles of a slide."""
        if slide in self._files:
            self._open(slide)
            if slide in self._sharp:
                return len(self._sharp[slide])
            return self._opened[slide].n
        return int(self._kept[slide].shape[0])

    def _open(self, slide: str) -> FeatureFile:
        opened = self._opened.get(slide)
        if opened is None:
            opened = FeatureFile(self._files[slide])
            if opened.n == 0:
                raise InputError("the slide has no tiles", file=opened.path, row=f"slide {slide}")
            if opened.width != self.width:
                raise InputError(
                    f"features {opened.width} wide, where the other slides have {self.width}",
                    file=opened.path,
                    row=f"slide {slide}",
                    remedy="delete the file and embed the slide again with the same patch encoder",
                )
            if self.min_focus is not None:
                sharp = opened.in_focus(self.min_focus)
                if len(sharp) == 0:
                    log.warning("Slide %s has no tile with a focus of %g: all are used", slide, self.min_focus)
                elif len(sharp) < opened.n:
                    self._sharp[slide] = sharp
            self._opened[slide] = opened
        return opened

    def rows(self, slide: str, index: np.ndarray | None) -> torch.Tensor:
        """Read usable rows of one slide, in the order given.

        Parameters
        ----------
        slide : str
            The slide.
        index : ndarray of int64 (k,) or None
            Rows, repeats allowed; None reads all.

        Returns
        -------
        Tensor
            float32 (k, D), free to be changed.
        """
        if slide in self._files:
            self._open(slide)
        if slide in self._sharp:
            index = self._sharp[slide] if index is None else self._sharp[slide][index]
        if slide not in self._kept:
            features = self._opened[slide]
            if not self.cached:
                return self._mapped(slide, torch.from_numpy(features.all() if index is None else features.rows(index)))
            self._kept[slide] = self._mapped(slide, torch.from_numpy(features.all()))
        kept = self._kept[slide]
        return kept.clone() if index is None else kept.index_select(0, torch.from_numpy(index))

    def _mapped(self, slide: str, rows: torch.Tensor) -> torch.Tensor:
        return self.maps[slide](rows) if slide in self.maps else rows

    def draw(self, slide: str, tokens: int, seed: int, epoch: int | str) -> np.ndarray:
        """Row numbers of a bag, int64 (tokens,): without replacement, or with where the slide has fewer."""
        rng = stream(seed, "bag", epoch, slide)
        n = self.length(slide)
        index = rng.choice(n, tokens, replace=False) if n >= tokens else rng.integers(0, n, tokens)
        return np.sort(index) if self.order == "raster" else index

    def bag(self, slide: str, tokens: int, seed: int, epoch: int | str) -> torch.Tensor:
        """One bag, float32 (tokens, D)."""
        return self.rows(slide, self.draw(slide, tokens, seed, epoch))

    def batch(self, slides: Sequence[str], tokens: int, seed: int, epoch: int | str) -> torch.Tensor:
        """Bags of several slides, float32 (B, tokens, D)."""
        out = torch.empty(len(slides), tokens, self.width)
        for i, slide in enumerate(slides):
            out[i] = self.bag(slide, tokens, seed, epoch)
        return out

    def whole(self, slide: str, max_tokens: int, seed: int) -> torch.Tensor:
        """Every patch of a slide, or a fixed seeded subset of ``max_tokens`` (0: no limit), float32 (k, D).

        The order is that of training: drawn once for all by (seed, slide), or raster.
        """
        n = self.length(slide)
        if 0 < max_tokens < n:
            return self.rows(slide, self.draw(slide, max_tokens, seed, "encode"))
        if self.order == "raster":
            return self.rows(slide, None)
        return self.rows(slide, stream(seed, "bag", "encode", slide).permutation(n))
