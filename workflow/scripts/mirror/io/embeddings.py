"""What an evaluation reads: patients, folds, and the frozen embeddings of a fold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem

from ..core.errors import InputError
from ..core.folds import parse_fold
from .splits import Fold

MODALITIES = ("wsi", "rna", "fused")


@dataclass
class FoldEmbeddings:
    """Frozen embeddings of one fold, one row per patient."""

    repeat: int
    fold: int
    patients: list[str]
    sets: dict[str, str]
    modalities: dict[str, np.ndarray]
    provenance: dict = field(default_factory=dict)

    def matrix(self, modality: str, patients: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Rows of the patients that have this modality.

        Returns
        -------
        rows : ndarray of float64, shape (n, D)
        kept : list of str, length n
        """
        position = {patient: row for row, patient in enumerate(self.patients)}
        values = self.modalities[modality]
        kept = [p for p in patients if p in position and np.isfinite(values[position[p]]).all()]
        return values[[position[p] for p in kept]].astype(np.float64), kept


def average_by_patient(values: np.ndarray, codes: np.ndarray, n: int) -> np.ndarray:
    """Mean over a patient's rows, leaving out rows with NaN (a missing modality).

    Parameters
    ----------
    values : ndarray of float, shape (rows, D)
    codes : ndarray of int, shape (rows,)
        The patient of each row, 0 to n - 1.

    Returns
    -------
    ndarray of float64, shape (n, D)
        NaN where a patient has no usable row.
    """
    good = np.isfinite(values).all(axis=1)
    total = np.zeros((n, values.shape[1]))
    np.add.at(total, codes[good], values[good].astype(np.float64))
    count = np.bincount(codes[good], minlength=n)[:, None]
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def load_fold(path: str | Path, keys: Sequence[str] = ("X_wsi", "X_rna", "X_fused")) -> FoldEmbeddings:
    """Read a fold's embeddings (``{fold}.h5ad``) and average them to patients.

    Parameters
    ----------
    path : path-like
        Its stem is the fold's name.
    keys : sequence of str
        Entries of ``obsm`` to read; a key that the file lacks is left out.
    """
    path = Path(path)
    repeat, fold = parse_fold(path.stem)
    try:
        with h5py.File(path) as file:
            obs = read_elem(file["obs"])
            arrays = {key: read_elem(file["obsm"][key]) for key in keys if key in file["obsm"]}
            raw = read_elem(file["uns"]["mirror"]) if "mirror" in file["uns"] else "{}"
    except (OSError, KeyError) as error:
        raise InputError(f"not a readable embeddings file ({error})", file=path, remedy="rerun the encoding") from error
    names = obs["patient_id"].astype(str).to_numpy()
    codes, patients = pd.factorize(names)
    values = {
        key.removeprefix("X_"): average_by_patient(np.asarray(array), codes, len(patients))
        for key, array in arrays.items()
    }
    sets = dict(zip(names, obs["set"].astype(str), strict=True))
    return FoldEmbeddings(repeat, fold, list(patients), sets, values, json.loads(str(raw)))


def check_membership(embeddings: FoldEmbeddings, fold: Fold, path: str | Path) -> None:
    """The embeddings must agree with the splits about who is in training."""
    wrong = [p for p in fold.test if embeddings.sets.get(p) == "train"]
    wrong += [p for p in fold.train if embeddings.sets.get(p) == "test"]
    if wrong:
        raise InputError(
            f"{len(wrong)} patients are in another set than in the splits, {wrong[0]} first",
            file=path,
            remedy="rerun the encoding: the splits have changed since",
        )
