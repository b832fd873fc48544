"""The loop over folds that every evaluation shares, and what it collects."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..config.evaluation import EvaluationSettings
from ..core.hashing import sha256_file
from ..heads.survival import NoModel
from ..io.predictions import COMMON, OPTIONAL, Names, Result, empty, stamp
from ..io.splits import Fold, iterate_folds
from .base import who_takes_part
from .registry import Target

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskFold:
    """One fold of one target.

    Attributes
    ----------
    source : Fold
        The fold of the splits.
    train, test : DataFrame
        Rows of the patients tables: training and test patients with a known outcome.
    """

    source: Fold
    train: pd.DataFrame
    test: pd.DataFrame

    @property
    def name(self) -> str:
        """For example ``r0f2``."""
        return self.source.name


class FoldRun:
    """Iterates over the folds of a target and collects predictions, notes and which patients each fold saw.

    Parameters
    ----------
    task : Target, or the name of a short form
    patients : DataFrame
        Indexed by patient_id, with the target's outcome.
    splits : DataFrame
        patient_id, repeat, fold, set.
    names : Names
    settings : EvaluationSettings
    seed : int
    tested : DataFrame, optional
        Patients that every fold is tested on, instead of the test patients of the splits.
    level : int
        Level at which notes are logged.
    """

    def __init__(
        self,
        task: Any,
        patients: pd.DataFrame,
        splits: pd.DataFrame,
        names: Names,
        settings: EvaluationSettings,
        seed: int,
        tested: pd.DataFrame | None = None,
        level: int = logging.WARNING,
    ) -> None:
        self.target = Target.of(task)
        self.task, self.rules = self.target.name, self.target.rules
        self.names, self.settings, self.seed, self.level = names, settings, seed, level
        self.known, self.notes = who_takes_part(patients, self.target)
        self.splits, self.tested = splits, tested
        self.parts: list[pd.DataFrame] = []
        self.seen: dict[str, dict[str, Any]] = {}

    def __iter__(self) -> Iterator[TaskFold]:
        for fold in iterate_folds(self.splits):
            train = self.known.loc[[p for p in fold.train if p in self.known.index]]
            test = self.tested
            if test is None:
                test = self.known.loc[[p for p in fold.test if p in self.known.index]]
            self.seen[fold.name] = {"train": list(train.index)}
            yield TaskFold(fold, train, test)

    def is_empty(self, fold: TaskFold) -> bool:
        """Whether a fold has no training or no test patients; adds a note if so."""
        for side, table in (("training", fold.train), ("test", fold.test)):
            if not len(table):
                if len(self.known):  # otherwise the reason is noted once
                    self.notes.append(f"{fold.name}: no {side} patients with a known outcome")
                return True
        return False

    @contextmanager
    def attempt(self, where: str) -> Iterator[None]:
        """Turn a model that cannot be fitted into a note; the run goes on behind the block."""
        try:
            yield
        except NoModel as reason:
            self.notes.append(f"{where}: left out, {reason}")

    def add(
        self,
        rows: pd.DataFrame,
        fold: TaskFold,
        *,
        protocol: str,
        modality: str,
        head: str,
        place: Mapping[str, int] | None = None,
        notes: Sequence[str] = (),
        where: str = "",
        train: pd.DataFrame | None = None,
    ) -> None:
        """Keep the predictions of one head in one fold.

        Parameters
        ----------
        rows : DataFrame
            See `subtyping_rows` and `survival_rows`.
        fold : TaskFold
        protocol, modality, head : str
        place : dict, optional
            Columns ``repeat``, ``fold`` and ``draw`` where they differ from the fold's own and draw 0.
        notes : sequence of str
            Fallbacks that were taken.
        where : str
            What the notes are about.
        train : DataFrame, optional
            The patients the head was fitted on; their number and events are stored.
        """
        self.notes += [f"{where}: {note}" for note in notes]
        at = {"repeat": fold.source.repeat, "fold": fold.source.fold, "draw": 0} | dict(place or {})
        how = {"task": self.task, "protocol": protocol, "modality": modality, "head": head}
        if train is not None:
            rows = rows.assign(train_n=len(train), train_events=self.rules.events(train))
        self.parts.append(stamp(rows, self.names, **how, **at, seed=self.seed))

    def result(self, sources: Sequence[str | Path] = (), **metadata: Any) -> Result:
        """Everything collected; ``sources`` are files whose hashes are stored."""
        notes = list(dict.fromkeys(self.notes))
        names = self.names
        for note in notes:
            log.log(self.level, "%s %s %s %s: %s", names.cohort, names.scheme, names.method, self.task, note)
        about = {
            "patients": self.seen,
            "settings": self.settings.model_dump(mode="json"),
            "seed": self.seed,
            "sources": [{"file": str(path), "sha256": sha256_file(path)} for path in sources],
            "notes": notes,
            "target": {"name": self.task, "kind": self.target.kind, "order": list(self.target.order)},
        }
        columns = [*COMMON, *self.rules.columns, *OPTIONAL]
        rows = pd.concat(self.parts, ignore_index=True) if self.parts else empty(columns)
        return Result(rows, about | metadata, columns)
