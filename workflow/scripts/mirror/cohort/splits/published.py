"""Published folds: read, audited, and refused or repaired."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ...core.errors import InputError
from ...core.patient_keys import keyed, patient_key
from ...core.regular_file import refuse_irregular

log = logging.getLogger("mirror")


@dataclass(frozen=True)
class PublishedReport:
    """What was found in published splits.

    Attributes
    ----------
    folder : str
        Where they lie.
    leaked : list of int
        Patients of each fold that are in both train and val.
    repaired : bool
        Whether these patients now are in test alone.
    published, used : int
        Patients in the files, and those of them that are in the cohort.
    not_in_cohort, not_in_splits : list of str
        Patients of the files that the cohort lacks, and of the cohort that the files lack.
    tested_more_than_once, never_tested : list of str
        Patients of the cohort in the test set of several folds, or of none.
    repeated_rows : list of int
        Rows of each fold that name a patient already named in the same column.
    """

    folder: str
    leaked: list[int]
    repaired: bool
    published: int
    used: int
    not_in_cohort: list[str] = field(default_factory=list)
    not_in_splits: list[str] = field(default_factory=list)
    tested_more_than_once: list[str] = field(default_factory=list)
    never_tested: list[str] = field(default_factory=list)
    repeated_rows: list[int] = field(default_factory=list)

    def messages(self) -> list[str]:
        """What the reader of the report should know, one line each."""
        lines = [f"published splits: {self.used} of {self.published} patients are in the cohort"]
        if any(self.leaked):
            lines.append(
                f"{', '.join(map(str, self.leaked))} patients are in both train and val of folds "
                f"0 to {len(self.leaked) - 1}; repaired: they are in test alone"
            )
        if self.not_in_splits:
            lines.append(f"{len(self.not_in_splits)} patients of the cohort are not in the splits and are left out")
        if self.tested_more_than_once:
            lines.append(f"{len(self.tested_more_than_once)} patients are tested in more than one fold")
        if self.never_tested:
            lines.append(f"{len(self.never_tested)} patients are trained on but never tested")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The fields and the messages, for JSON."""
        return {**asdict(self), "messages": self.messages()}


def read_published(
    folder: str | Path, folds: int, *, repair: bool = False, cohort_patients: list[str] | None = None
) -> tuple[pd.DataFrame, PublishedReport]:
    """Read ``splits_{k}.csv`` (columns ``train`` and ``val``) as one split table.

    Parameters
    ----------
    folder : path-like
        Holds ``splits_0.csv`` to ``splits_{folds - 1}.csv``.
    folds : int
        How many folds there must be.
    repair : bool
        A patient in both columns of a fold stays in test alone instead of being refused.
    cohort_patients : list of str, optional
        The cohort. Barcodes are matched under any form, and the cohort's spelling is used;
        patients that only one side knows are counted and left out. None keeps all.

    Returns
    -------
    splits : DataFrame
        ``patient_id, repeat (0), fold, set``; val becomes test.
    report : PublishedReport
        Counts over the files as published (leaks, repeated rows) and after joining the cohort.

    Raises
    ------
    InputError
        Missing files or columns, a fold without train or test patients in the cohort, or
        patients in both sets and ``repair`` false: the counts of every fold are in the message.
    """
    folder = Path(folder)
    sets: list[tuple[list[str], list[str]]] = []
    repeated: list[int] = []
    for path in _files(folder, folds):
        train, val, extra = _read_one(path)
        sets.append((train, val))
        repeated.append(extra)
    leaked = [len(set(train) & set(val)) for train, val in sets]
    if any(leaked) and not repair:
        raise InputError(
            f"{', '.join(map(str, leaked))} patients are in both train and val of folds 0 to {folds - 1}",
            file=folder,
            remedy="set repair: true to test them and not train on them, or make patient-level folds",
        )
    published = {key for train, val in sets for key in (*train, *val)}
    names = {key: key for key in published}
    if cohort_patients is not None:
        names = {key: spellings[0] for key, spellings in keyed(cohort_patients).items()}
    rows = []
    for fold, (train, val) in enumerate(sets):
        chosen = {"train": sorted(set(train) - set(val)), "test": sorted(set(val))}
        for name, keys in chosen.items():
            known = [names[key] for key in keys if key in names]
            if not known:
                raise InputError(f"no {name} patient of this fold is in the cohort", file=folder, row=f"fold {fold}")
            rows += [(patient, 0, fold, name) for patient in known]
    splits = pd.DataFrame(rows, columns=["patient_id", "repeat", "fold", "set"])
    tested = splits.loc[splits["set"] == "test", "patient_id"].value_counts()
    report = PublishedReport(
        folder=str(folder),
        leaked=leaked,
        repaired=repair and any(leaked),
        published=len(published),
        used=splits["patient_id"].nunique(),
        not_in_cohort=sorted(published - set(names)),
        not_in_splits=sorted(names[key] for key in set(names) - published),
        tested_more_than_once=sorted(tested.index[tested > 1]),
        never_tested=sorted(set(splits["patient_id"]) - set(tested.index)),
        repeated_rows=repeated,
    )
    splits.attrs["messages"] = report.messages()
    for message in report.messages():
        log.info("%s", message)
    return splits, report


def _files(folder: Path, folds: int) -> list[Path]:
    """The files of all folds, or an error that says how many there are."""
    if not folder.is_dir():
        raise InputError("no such folder of published splits", file=folder)
    found = len(list(folder.glob("splits_*.csv")))
    paths = [folder / f"splits_{k}.csv" for k in range(folds)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing or found != folds:
        lacking = f", {missing[0]} is missing" if missing else ""
        raise InputError(
            f"holds {found} files splits_*.csv but the config says {folds} folds{lacking}",
            file=folder,
            remedy=f"set folds: {found}" if found >= 2 and not missing else "name the folder of splits_0.csv ...",
        )
    return paths


def _read_one(path: Path) -> tuple[list[str], list[str], int]:
    """Patient keys of train and val, in order, and how many rows repeated a patient."""
    try:
        refuse_irregular(path, "split")
        table = pd.read_csv(path, dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as CSV ({error})", file=path) from error
    missing = {"train", "val"} - set(table.columns)
    if missing:
        raise InputError(f"has no column {' and '.join(sorted(missing))}", file=path)
    if "test" in table and table["test"].notna().any():
        raise InputError(
            "has a test column; splits of two sets are read",
            file=path,
            remedy="write the patients to be tested as val and the others as train",
        )
    columns = [[patient_key(value) for value in table[name].dropna()] for name in ("train", "val")]
    unique = [list(dict.fromkeys(column)) for column in columns]
    return unique[0], unique[1], sum(map(len, columns)) - sum(map(len, unique))
