"""The splits file: which patient is in which set of each fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..core.errors import InputError
from ..core.folds import fold_name
from .tables import read_table

COLUMNS = ["patient_id", "repeat", "fold", "set"]


def read_splits(path: str | Path) -> pd.DataFrame:
    """Read a ``splits.tsv`` and check its form.

    Returns
    -------
    DataFrame
        As from `make_splits`.

    Raises
    ------
    InputError
        Columns or values that are not those of a split file, or a fold without one of the sets.
    """
    table = pd.read_csv(path, sep="\t", dtype={"patient_id": str, "set": str}, keep_default_na=False)
    if list(table.columns) != COLUMNS:
        raise InputError(f"columns are {list(table.columns)}, not {COLUMNS}", file=path)
    strange = sorted(set(table["set"]) - {"train", "test"})
    if strange:
        raise InputError(f"set is {strange[0]!r}, neither train nor test", file=path)
    for (repeat, fold), rows in table.groupby(["repeat", "fold"]):
        if rows["set"].nunique() != 2:
            lacking = "test" if "train" in set(rows["set"]) else "train"
            raise InputError(f"has no {lacking} patients", file=path, row=f"r{repeat}f{fold}")
    return table


def fold_sets(splits: pd.DataFrame, repeat: int, fold: int) -> tuple[list[str], list[str]]:
    """Training and test patients of one fold, each in the file's order."""
    rows = splits[(splits["repeat"] == repeat) & (splits["fold"] == fold)]
    if rows.empty:
        raise InputError(f"there is no fold r{repeat}f{fold} in the splits")
    return (
        rows.loc[rows["set"] == "train", "patient_id"].tolist(),
        rows.loc[rows["set"] == "test", "patient_id"].tolist(),
    )


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


def read_fold(splits: str | Path, fold: str) -> dict[str, str]:
    """Set (train or test) of each patient in one fold.

    Parameters
    ----------
    splits : path-like
        ``splits.tsv``: patient_id, repeat, fold, set.
    fold : str
        ``r{repeat}f{fold}``.

    Raises
    ------
    InputError
        When the fold is not there, or a patient is in both of its sets.
    """
    table = read_table(splits, ["patient_id", "repeat", "fold", "set"])
    mine = table[("r" + table["repeat"].astype(str) + "f" + table["fold"].astype(str)) == fold]
    if mine.empty:
        raise InputError(f"no fold {fold}", file=splits, remedy="make the splits again")
    both = mine["patient_id"][mine["patient_id"].duplicated()]
    if not both.empty:
        raise InputError(f"the patient stands more than once in fold {fold}", file=splits, row=both.iloc[0])
    return dict(zip(mine["patient_id"], mine["set"], strict=True))
