"""What an evaluation reads: patients, folds, and the frozen embeddings of a fold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem

from ..io.errors import InputError

MODALITIES = ("wsi", "rna", "fused")
_FOLD = re.compile(r"r(\d+)f(\d+)")


def parse_fold(name: str) -> tuple[int, int]:
    """``r0f3`` -> (0, 3)."""
    match = _FOLD.fullmatch(name)
    if not match:
        raise InputError(f"'{name}' is no fold name", remedy="name folds r{repeat}f{fold}, for example r0f3")
    return int(match[1]), int(match[2])


def fold_name(repeat: int, fold: int) -> str:
    """(0, 3) -> ``r0f3``."""
    return f"r{repeat}f{fold}"


def read_patients(path: str | Path) -> pd.DataFrame:
    """A cohort's patients, indexed by patient_id; label and stage stay text, empty cells are missing."""
    text = {name: str for name in ("patient_id", "label", "site", "stage", "sex")}
    # Identifiers and labels stay as they are written: a patient may be called NA or 007.
    table = pd.read_csv(path, sep="\t", dtype=text, keep_default_na=False, na_values=[""])
    if "patient_id" not in table:
        raise InputError("lacks the column patient_id", file=path, remedy="write it with the cohort step")
    if table["patient_id"].duplicated().any():
        twice = table.loc[table["patient_id"].duplicated(), "patient_id"].iloc[0]
        raise InputError("a patient has two rows", file=path, row=twice, remedy="keep one row a patient")
    return table.set_index("patient_id", drop=False).rename_axis(None)


@dataclass(frozen=True)
class Fold:
    """One fold's patients, in the order of the splits table."""

    repeat: int
    fold: int
    train: list[str]
    test: list[str]

    @property
    def name(self) -> str:
        """``r{repeat}f{fold}``."""
        return fold_name(self.repeat, self.fold)


def iterate_folds(splits: pd.DataFrame) -> Iterator[Fold]:
    """The folds of a scheme, by repeat and fold.

    Raises
    ------
    InputError
        A patient is both in train and in test of a fold.
    """
    for (repeat, fold), part in splits.groupby(["repeat", "fold"], sort=True):
        train = part.loc[part["set"] == "train", "patient_id"].tolist()
        test = part.loc[part["set"] == "test", "patient_id"].tolist()
        both = sorted(set(train) & set(test))
        if both:
            raise InputError(
                f"{len(both)} patients are in train and test",
                row=fold_name(repeat, fold),
                remedy="repair the splits (splits.<scheme>.repair: true)",
            )
        yield Fold(int(repeat), int(fold), train, test)


def usable(patients: pd.DataFrame, task: str) -> pd.DataFrame:
    """The patients a task can use: a label, or a positive follow-up time and a known event."""
    if task == "subtyping":
        return patients[patients["label"].notna() & (patients["label"].astype(str) != "")]
    time = pd.to_numeric(patients["time_days"], errors="coerce")
    event = pd.to_numeric(patients["event"], errors="coerce")
    return patients[(time > 0) & event.isin([0, 1])]


@dataclass
class FoldEmbeddings:
    """Frozen embeddings of one fold, one row a patient."""

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
