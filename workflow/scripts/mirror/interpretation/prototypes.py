"""Style prototypes over folds: matched, scored out of fold, and the most used ones chosen.

Every fold has a model, and with it prototypes, of its own. Prototype k of one fold is not prototype
k of another. They are matched by how they score the patients that both models were trained on;
every patient then gets its score from the one fold (of the first repeat) that tests it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax

MIN_COMMON = 5
"""Fewer common training patients cannot match prototypes."""


@dataclass(frozen=True)
class FoldScores:
    """Prototype scores of one fold's slides.

    Attributes
    ----------
    fold : str
    table : DataFrame (slides, K)
        Scores by slide_id; finite.
    patients, sets : Series
        By slide_id: patient, and "train" or "test".
    """

    fold: str
    table: pd.DataFrame
    patients: pd.Series
    sets: pd.Series

    def by_patient(self, which: str) -> pd.DataFrame:
        """Mean scores of a patient's slides, for the patients of one set."""
        rows = self.table[self.sets == which]
        return rows.groupby(self.patients[rows.index]).mean()

    def of_everyone(self) -> pd.DataFrame:
        """Mean scores of every patient's slides."""
        return self.table.groupby(self.patients).mean()


@dataclass(frozen=True)
class Prototypes:
    """The chosen prototypes.

    Attributes
    ----------
    table : DataFrame
        ``prototype`` (P01 ...), ``use`` (share of out-of-fold slides that score it highest),
        ``membership`` (mean softmax), ``spread`` (SD of the raw score over the first fold's training
        patients: near zero where the style has collapsed), ``match`` (lowest correlation with its
        partners in other folds), and one column per fold with its number there.
    scores : DataFrame (patients, prototypes)
        Out-of-fold scores in standard deviations of the fold's training patients.
    folds : Series
        The testing fold of each patient.
    asked : DataFrame (patients, K)
        Scores of every prototype of the model; the chosen ones under their names.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    folds: pd.Series
    asked: pd.DataFrame

    def numbers(self, fold: str) -> np.ndarray:
        """The chosen prototypes' numbers in one fold, int64."""
        return self.table[fold].to_numpy(np.int64)


def _standard(values: np.ndarray) -> np.ndarray:
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 0, spread, np.inf)


def match(reference: FoldScores, other: FoldScores) -> tuple[np.ndarray, np.ndarray]:
    """Match prototypes of two folds one to one (Hungarian method on correlations).

    Returns
    -------
    partner : int64 (K,)
        ``other``'s number of each prototype of ``reference``.
    correlation : float64 (K,)
        Over the patients that both folds train on; where these are fewer than `MIN_COMMON` (two folds
        share none), over all patients of both, no outcome being looked at; 0 where there are too few.
    """
    a, b = reference.by_patient("train"), other.by_patient("train")
    common = a.index.intersection(b.index)
    k = a.shape[1]
    if len(common) < MIN_COMMON:
        a, b = reference.of_everyone(), other.of_everyone()
        common = a.index.intersection(b.index)
    if len(common) < MIN_COMMON:
        return np.arange(k), np.zeros(k)
    r = _standard(a.loc[common].to_numpy(float)).T @ _standard(b.loc[common].to_numpy(float)) / len(common)
    rows, columns = linear_sum_assignment(-r)
    return columns[np.argsort(rows)], r[rows, columns][np.argsort(rows)]


def choose(folds: list[FoldScores], number: int, redundant: float) -> Prototypes:
    """Match over folds, score out of fold, choose the most used prototypes.

    Parameters
    ----------
    folds : list of FoldScores
        One repeat; the first is the reference.
    number : int
        Prototypes wanted.
    redundant : float
        A prototype that correlates more than this with one already chosen is passed over.
    """
    reference = folds[0]
    k = reference.table.shape[1]
    partners, quality = {reference.fold: np.arange(k)}, np.ones(k)
    for other in folds[1:]:
        partners[other.fold], r = match(reference, other)
        quality = np.minimum(quality, r)
    scores, won, membership, tested = [], np.zeros(k), np.zeros(k), {}
    n_slides = 0
    for fold in folds:
        train, test = fold.by_patient("train"), fold.by_patient("test")
        spread = train.std(ddof=0).to_numpy()
        z = (test.to_numpy(float) - train.mean().to_numpy()) / np.where(spread > 0, spread, np.inf)
        scores.append(pd.DataFrame(z[:, partners[fold.fold]], index=test.index))
        tested.update(dict.fromkeys(test.index, fold.fold))
        raw = fold.table[fold.sets == "test"].to_numpy(float)[:, partners[fold.fold]]
        won += np.bincount(raw.argmax(1), minlength=k)
        membership += softmax(raw, axis=1).sum(0)
        n_slides += len(raw)
    everyone = pd.concat(scores)
    everyone = everyone[~everyone.index.duplicated()]  # published splits may test a patient twice
    order = np.lexsort((-membership, -won))
    r = np.abs(np.nan_to_num(_standard(everyone.to_numpy()).T @ _standard(everyone.to_numpy()) / len(everyone)))
    chosen: list[int] = []
    for candidate in order:
        if len(chosen) < number and all(r[candidate, c] <= redundant for c in chosen):
            chosen.append(int(candidate))
    table = pd.DataFrame(
        {
            "prototype": [f"P{i + 1:02d}" for i in range(len(chosen))],
            "use": won[chosen] / n_slides,
            "membership": membership[chosen] / n_slides,
            "spread": reference.by_patient("train").std(ddof=0).to_numpy()[chosen],
            "match": quality[chosen],
            **{fold: partner[chosen] for fold, partner in partners.items()},
        }
    )
    kept = everyone[chosen].set_axis(table["prototype"], axis=1).sort_index()
    asked = everyone.rename(columns=dict(zip(chosen, table["prototype"], strict=True))).sort_index()
    return Prototypes(table, kept, pd.Series(tested).loc[kept.index], asked)
