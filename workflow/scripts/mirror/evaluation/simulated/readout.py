"""What an embedding knows of a simulated cohort's truth: R2 of a ridge readout, out of fold.

A linear readout of the planted factors from frozen embeddings, beside the same readout of the input
itself. The ridge is fitted on a fold's training patients (its penalty by leave-one-out among them)
and scored on the fold's test patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV

from ...core.errors import InputError
from ...core.folds import parse_fold
from ...io.embeddings import average_by_patient, check_membership, load_fold
from ...io.predictions import Names
from ...io.splits import Fold, iterate_folds
from ...metrics.statistics import corrected_resampled_t

PENALTIES = np.logspace(-1, 5, 13)
FACTORS = {"r2_shared": "shared_", "r2_slide": "slide_", "r2_rna": "rna_"}
"""Metric to the prefix of its planted factors."""
TASK, PROTOCOL, HEAD, INPUT = "truth", "readout", "ridge", "input"
POOLED = "pooled"
Matrix = Callable[[Sequence[str]], tuple[np.ndarray, list[str]]]
"""Patients -> rows (n, D) and the patients that have them."""


def bag_summary(bag: np.ndarray, spread: bool = True) -> np.ndarray:
    """What a linear readout of a slide's input sees: mean (and SD) of its patch features.

    Parameters
    ----------
    bag : ndarray of float, shape (tiles, W)

    Returns
    -------
    ndarray, shape (2 W,) or (W,)
    """
    return np.r_[bag.mean(0), bag.std(0)] if spread else bag.mean(0)


def standardised(x: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """Columns of all arrays in standard deviations of ``x``, float64; constant ones are only centred."""
    mean, scale = x.astype(np.float64).mean(0), x.astype(np.float64).std(0)
    scale = np.where(scale > 1e-7, scale, 1.0)
    return tuple((part.astype(np.float64) - mean) / scale for part in (x, *others))


def ridge() -> RidgeCV:
    """The readout: a penalty of its own for every factor, by leave-one-out."""
    return RidgeCV(PENALTIES, alpha_per_target=True)


def r2(factors: np.ndarray, guess: np.ndarray, centre: np.ndarray) -> float:
    """1 - residual over total sum of squares about ``centre``, mean over factors.

    Parameters
    ----------
    factors, guess : ndarray, shape (n, k)
    centre : ndarray, shape (k,)
    """
    residual = ((factors - guess.reshape(factors.shape)) ** 2).sum(0)
    return float((1 - residual / ((factors - centre) ** 2).sum(0)).mean())


def readout(x: np.ndarray, factors: np.ndarray, x_test: np.ndarray, factors_test: np.ndarray) -> float:
    """R2 on test patients of a ridge fitted on training patients.

    The total is about the training mean: zero is what a guess without the embedding reaches, and a
    readout that misleads is below zero.

    Parameters
    ----------
    x, x_test : ndarray, shapes (n, D), (m, D)
    factors, factors_test : ndarray, shapes (n, k), (m, k)
    """
    z, z_test = standardised(x, x_test)
    return r2(factors_test, ridge().fit(z, factors).predict(z_test), factors.mean(0))


def measure_fold(views: dict[str, Matrix], factors: pd.DataFrame, fold: Fold) -> list[dict[str, object]]:
    """Rows of one fold: modality, metric, value, n.

    Parameters
    ----------
    views : dict
        Modality to its rows.
    factors : DataFrame (patients, factors)
    """
    rows = []
    for modality, matrix in views.items():
        x, train = matrix([p for p in fold.train if p in factors.index])
        x_test, test = matrix([p for p in fold.test if p in factors.index])
        if len(train) < 3 or len(test) < 2:
            continue
        for metric, prefix in FACTORS.items():
            columns = [c for c in factors if str(c).startswith(prefix)]
            known, hidden = (factors.loc[part, columns].to_numpy() for part in (train, test))
            value = readout(x, known, x_test, hidden)
            rows.append({"modality": modality, "metric": metric, "value": value, "n": len(test)})
    return rows


def truth_of_embeddings(
    files: Sequence[str | Path], factors: pd.DataFrame, splits: pd.DataFrame, names: Names, seed: int
) -> pd.DataFrame:
    """R2 of one variant's embeddings (slide, RNA, fused) in every fold.

    Parameters
    ----------
    files : sequence of path-like
        ``{fold}.h5ad``.
    factors : DataFrame
        See `mirror.evaluation.simulated.ceiling.read_factors`.
    splits : DataFrame
    names, seed
        Written into the rows.

    Returns
    -------
    DataFrame
        The columns of ``metrics.tsv``: a row per fold, modality and metric, and the mean over folds.
    """
    by_fold = {parse_fold(Path(path).stem): Path(path) for path in files}
    rows = []
    for fold in iterate_folds(splits):
        if (fold.repeat, fold.fold) not in by_fold:
            raise InputError("a fold has no embeddings", row=fold.name, remedy="run the encoding of every fold")
        path = by_fold[fold.repeat, fold.fold]
        known = load_fold(path)
        check_membership(known, fold, path)
        views = {m: _rows_of(values, known.patients) for m, values in known.modalities.items()}
        rows += [{"repeat": fold.repeat, "fold": fold.fold, **row} for row in measure_fold(views, factors, fold)]
    return _finish(rows, names, seed, splits)


def truth_of_input(
    slides: tuple[np.ndarray, list[str]],
    rna: dict[str, tuple[np.ndarray, list[str]]],
    factors: pd.DataFrame,
    splits: pd.DataFrame,
    names: Names,
    seed: int,
) -> pd.DataFrame:
    """The same readout of what the model was given.

    Parameters
    ----------
    slides : tuple of (ndarray (slides, 2 W), list of str)
        `bag_summary` of each slide, and its patient.
    rna : dict
        Fold's name to (ndarray (n, G), patients): the fold's transformed genes.
    factors, splits, names, seed
        See `truth_of_embeddings`.
    """
    codes, owners = pd.factorize(np.asarray(slides[1], dtype=object))
    summary = average_by_patient(slides[0], codes, len(owners))
    rows = []
    for fold in iterate_folds(splits):
        views = {"wsi": _rows_of(summary, list(owners)), "rna": _rows_of(*rna[fold.name])}
        views["fused"] = _side_by_side(views["wsi"], views["rna"])
        rows += [{"repeat": fold.repeat, "fold": fold.fold, **row} for row in measure_fold(views, factors, fold)]
    return _finish(rows, names, seed, splits)


def _rows_of(values: np.ndarray, patients: list[str]) -> Matrix:
    place = {p: i for i, p in enumerate(patients)}

    def matrix(wanted: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        kept = [p for p in wanted if p in place and np.isfinite(values[place[p]]).all()]
        return values[[place[p] for p in kept]], kept

    return matrix


def _side_by_side(a: Matrix, b: Matrix) -> Matrix:
    def matrix(wanted: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        kept = b(a(wanted)[1])[1]
        return np.concatenate([a(kept)[0], b(kept)[0]], axis=1), kept

    return matrix


def _finish(rows: list[dict], names: Names, seed: int, splits: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Add the names, and the mean over folds with its interval."""
    if not rows:
        raise InputError("no fold has patients with known factors", remedy="simulate the cohort again")
    table = pd.DataFrame(rows).assign(draw=0)
    sizes = splits.groupby(["repeat", "fold"])["set"].value_counts().unstack(fill_value=0)
    share = float((sizes["test"] / sizes["train"].clip(lower=1)).mean())
    pooled = []
    for (modality, metric), part in table.groupby(["modality", "metric"], sort=True):
        # Folds share training patients: the interval is that of the corrected resampled t. No R2 is above 1.
        found = corrected_resampled_t(part["value"].to_numpy(), share, level)
        n = int(part.groupby("repeat")["n"].sum().max())
        row = {"repeat": -1, "fold": POOLED, "draw": -1, "modality": modality, "metric": metric, "n": n}
        row |= {"value": part["value"].mean()}
        pooled.append(row | ({"ci_low": found.low, "ci_high": min(found.high, 1.0)} if found else {}))
    out = pd.concat([table, pd.DataFrame(pooled)], ignore_index=True)
    return out.assign(**vars(names), task=TASK, protocol=PROTOCOL, head=HEAD, seed=seed)
