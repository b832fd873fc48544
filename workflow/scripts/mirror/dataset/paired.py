"""Slides and expression of one fold, joined by patient."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from ..core.errors import InputError
from ..core.seeds import stream
from ..io.splits import read_fold
from ..io.status import drop_failed
from ..io.tables import read_table
from ..rna.transform import Transform
from .bags import BagSource

log = logging.getLogger("mirror.training")
PARTNER = "partner"  # the set of patients of other cohorts, who are trained on and neither tested nor watched


@dataclass(frozen=True)
class Pairs:
    """The part of the data that one role sees.

    Attributes
    ----------
    slides : list of str
        Slide of each pair.
    rna : ndarray of int64
        Row of `PairedData.rna` of each pair.
    patients : list of str
        Patient of each pair.
    """

    slides: list[str]
    rna: np.ndarray
    patients: list[str]

    def __len__(self) -> int:
        return len(self.slides)


@dataclass(frozen=True)
class PairedData:
    """Everything pre-training and encoding read.

    Attributes
    ----------
    patients : DataFrame
        Indexed by patient_id; ``set`` (train, test, partner or empty) and the columns of ``patients.tsv``.
    slides : DataFrame
        slide_id, patient_id and, for pooled cohorts, cohort; sorted by slide_id.
    bags : BagSource or None
        Patch features; None without slides.
    rna : ndarray
        float32 (P, G), the fold's fitted transform applied; G = 0 without expression.
    rna_patients : list of str
        Patient of each row of ``rna``.
    genes : list of str
        Genes, in order.
    """

    patients: pd.DataFrame
    slides: pd.DataFrame
    bags: BagSource | None
    rna: np.ndarray
    rna_patients: list[str]
    genes: list[str]

    @property
    def feature_width(self) -> int:
        """Width of the patch features, 0 without slides."""
        return self.bags.width if self.bags else 0

    def members(self, set_: str) -> list[str]:
        """Patients of a set, sorted."""
        return sorted(self.patients.index[self.patients["set"] == set_])

    def pairs(self, patients: Sequence[str]) -> Pairs:
        """Pairs (a slide, its patient's RNA) of some patients, sorted by slide."""
        row = {p: i for i, p in enumerate(self.rna_patients)}
        wanted = set(patients) & row.keys()
        mine = self.slides[self.slides["patient_id"].isin(wanted)]
        owner = mine["patient_id"].tolist()
        return Pairs(mine["slide_id"].tolist(), np.array([row[p] for p in owner], dtype=np.int64), owner)

    def unpaired(self, patients: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """Slides without RNA, and rows of ``rna`` without a slide, of some patients."""
        wanted = set(patients)
        have_rna, have_slide = set(self.rna_patients), set(self.slides["patient_id"])
        mine = self.slides[self.slides["patient_id"].isin(wanted - have_rna)]
        rows = [i for i, p in enumerate(self.rna_patients) if p in wanted and p not in have_slide]
        return mine["slide_id"].tolist(), np.array(rows, dtype=np.int64)

    def validation_patients(self, fraction: float, seed: int) -> list[str]:
        """The inner validation split: training patients with both modalities, drawn by the seed.

        At least one where ``fraction`` > 0, and never so many that fewer than two pairs are left to train on.
        """
        candidates = sorted(set(self.pairs(self.members("train")).patients))
        if fraction <= 0 or len(candidates) < 3:
            return []
        n = min(max(1, round(fraction * len(candidates))), len(candidates) - 2)
        return sorted(stream(seed, "watched").permutation(np.array(candidates, dtype=object))[:n])

    def digest(self) -> str:
        """SHA-256 (hex) of the data: its sets, slides and their files' sizes and fingerprints, and expression."""
        sha256 = hashlib.sha256()
        slides = self.slides[[c for c in ("slide_id", "patient_id", "n_tiles", "fingerprint") if c in self.slides]]
        sha256.update(slides.to_csv(index=False).encode())
        sha256.update(json.dumps(sorted(self.patients["set"].items())).encode())
        for slide in self.slides["slide_id"]:
            path = self.bags.path(slide) if self.bags else None
            sha256.update(str(path.stat().st_size if path else slide).encode())
            if self.bags and slide in self.bags.maps:
                used = self.bags.maps[slide]
                sha256.update(used.scale.numpy().tobytes() + used.shift.numpy().tobytes())
        sha256.update("\n".join([*self.genes, *self.rna_patients]).encode())
        sha256.update(np.ascontiguousarray(self.rna).tobytes())
        return sha256.hexdigest()

    @classmethod
    def from_arrays(
        cls,
        bags: Mapping[str, np.ndarray | str | Path],
        slide_patients: Mapping[str, str],
        rna: Mapping[str, np.ndarray],
        sets: Mapping[str, str],
        genes: Sequence[str] | None = None,
        order: str = "random",
    ) -> PairedData:
        """Build from arrays, for benchmarks and tests.

        Parameters
        ----------
        bags : mapping of slide to ndarray (n, D) or feature file
            Patch features.
        slide_patients : mapping of slide to patient
            Owner of each slide.
        rna : mapping of patient to ndarray (G,)
            Transformed expression.
        sets : mapping of patient to {"train", "test"}
            The fold.
        genes : sequence of str, optional
            Names of the genes; numbered by default.
        order : {"random", "raster"}
            Order of tokens, see `BagSource`.
        """
        slides = pd.DataFrame(sorted(slide_patients.items()), columns=["slide_id", "patient_id"])
        names = sorted(rna)
        matrix = np.array([rna[p] for p in names], dtype=np.float32) if names else np.zeros((0, 0), np.float32)
        patients = pd.DataFrame({"set": pd.Series(dict(sets), dtype=object)})
        patients.index.name = "patient_id"
        named = list(genes) if genes is not None else [f"g{i}" for i in range(matrix.shape[1])]
        return cls(patients, slides, BagSource(bags, order=order) if bags else None, matrix, names, named)


def load_paired(
    patients: str | Path,
    slides: str | Path | None,
    splits: str | Path,
    fold: str,
    expression: str | Path | None,
    transform: str | Path | None,
    features_dir: str | Path | None,
    *,
    feature_status: Sequence[str | Path] = (),
    cache_gb: float = 0.0,
    order: str = "random",
    min_focus: float | None = None,
) -> PairedData:
    """Assemble one fold's data from the workflow's files; either modality may be absent.

    Parameters
    ----------
    patients, slides, splits : path-like
        ``patients.tsv``, ``slides.tsv`` (None: RNA only), ``splits.tsv``.
    fold : str
        ``r{repeat}f{fold}``.
    expression, transform : path-like or None
        ``{cohort}.h5ad`` and this fold's fitted ``transform_{fold}.npz``; None: slides only.
    features_dir : path-like or None
        Folder of ``{slide_id}.h5``.
    feature_status : sequence of path-like
        The embedding step's tables (slide_id, status); slides that failed there are left out.
    cache_gb, order, min_focus
        See `BagSource`.

    Raises
    ------
    InputError
        When a file is missing or malformed, or the transform was fitted on patients outside the fold's training set.
    """
    people = read_table(patients, ["patient_id"]).set_index("patient_id")
    sets = read_fold(splits, fold)
    people.insert(0, "set", [sets.get(p, "") for p in people.index])

    owned = pd.DataFrame({"slide_id": pd.Series(dtype=str), "patient_id": pd.Series(dtype=str)})
    bags = None
    if slides is not None and features_dir is not None:
        owned = read_table(slides, ["slide_id", "patient_id"])
        owned = owned[owned["patient_id"].isin(people.index)].sort_values("slide_id", ignore_index=True)
        owned = drop_failed(owned, feature_status)
        n_tiles = dict(zip(owned["slide_id"], owned["n_tiles"], strict=True)) if "n_tiles" in owned else None
        files = {slide: Path(features_dir) / f"{slide}.h5" for slide in owned["slide_id"]}
        bags = BagSource(files, cache_gb, n_tiles, order, min_focus) if files else None

    rna, names, genes = np.zeros((0, 0), np.float32), [], []
    if expression is not None and transform is not None:
        fitted = Transform.load(transform)
        outside = sorted(set(fitted.patients) - {p for p, s in sets.items() if s == "train"})
        if outside:
            raise InputError(
                f"the transform was fitted on {len(outside)} patients outside the training set of fold {fold}",
                file=transform,
                row=outside[0],
                remedy="delete it and let the workflow fit it again",
            )
        adata = anndata.read_h5ad(expression)
        measured = set(adata.obs_names)
        names = [p for p in people.index if p in measured]
        rna = np.asarray(fitted.apply(adata, names), dtype=np.float32)
        genes = list(fitted.genes)
    return PairedData(people, owned, bags, rna, names, genes)
