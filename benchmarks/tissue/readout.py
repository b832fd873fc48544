"""Genes predicted from vectors, and style clusters against published ones. Functions of arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import normalized_mutual_info_score

from mirror.core.seeds import stream

PENALTIES = 10.0 ** np.arange(0, 7)


def inner_parts(table: pd.DataFrame) -> np.ndarray:
    """Groups inside the training set: sections, or four strips of one section."""
    if table["section"].nunique() > 1:
        return table["section"].to_numpy()
    return pd.qcut(table["y"], 4, labels=False).to_numpy()


def correlations(guess: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pearson's r per gene (genes,); 0 where either is constant."""
    a, b = guess - guess.mean(0), truth - truth.mean(0)
    size = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.where(size > 1e-9, (a * b).sum(0) / np.maximum(size, 1e-9), 0.0)


class Readout:
    """Ridge regression of all genes; one penalty, with the highest mean r over held-out inner parts.

    Parameters
    ----------
    x : ndarray (n, D)
        Standardised here, with the mean and standard deviation of these samples.
    y : ndarray (n, G)
    parts : ndarray (n,)
        Groups of samples that are held out together to choose the penalty.

    Attributes
    ----------
    inner_r : ndarray (G,)
        Mean r of each gene over the held-out parts at that penalty.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, parts: np.ndarray) -> None:
        self.mean, self.sd = x.mean(0), np.maximum(x.std(0), 1e-7)
        z = (x - self.mean) / self.sd
        found = np.zeros((len(PENALTIES), y.shape[1]))
        for part in np.unique(parts):
            held = parts == part
            for place, guess in enumerate(ridge_path(z[~held], y[~held], z[held])):
                found[place] += correlations(guess, y[held])
        best = int(found.mean(1).argmax())
        self.inner_r, self.penalty = found[best] / len(np.unique(parts)), PENALTIES[best]
        self.z, self.y = z, y

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Genes (m, G)."""
        return ridge_path(self.z, self.y, (x - self.mean) / self.sd, self.penalty)[0]


def ridge_path(x: np.ndarray, y: np.ndarray, new: np.ndarray, *penalties: float) -> list[np.ndarray]:
    """Predictions (m, G) of ridge regression with an intercept, for each penalty (by default all of `PENALTIES`).

    One eigendecomposition of the kernel (n, n) serves all penalties and genes.
    """
    middle, level = x.mean(0), y.mean(0)
    values, vectors = np.linalg.eigh((x - middle) @ (x - middle).T)
    left, right = ((new - middle) @ (x - middle).T) @ vectors, vectors.T @ (y - level)
    return [left @ (right / (np.maximum(values, 0) + p)[:, None]) + level for p in penalties or PENALTIES]


def moved_nmi(table: pd.DataFrame, won: np.ndarray) -> float:
    """Mean NMI after moving the map over the section by 2 to 8 spots, where at least half of it still overlaps."""
    at = {(c, r): i for i, (c, r) in enumerate(zip(table["column"], table["row"], strict=True))}
    cluster, found = table["cluster"].to_numpy(), []
    for dx in range(-8, 9):
        for dy in range(-8, 9):
            pairs = [(i, at[c + dx, r + dy]) for (c, r), i in at.items() if (c + dx, r + dy) in at]
            if max(abs(dx), abs(dy)) >= 2 and 2 * len(pairs) >= len(at):
                i, j = np.array(pairs).T
                found.append(normalized_mutual_info_score(cluster[i], won[j]))
    return float(np.mean(found)) if found else float("nan")


def shuffled(sections: np.ndarray, seed: int, within: bool) -> np.ndarray:
    """A permutation of samples (n,), over all of them or within each section."""
    groups = sections if within else np.zeros(len(sections), int)
    order = np.arange(len(sections))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        order[rows] = stream(seed, "shuffled", str(group)).permutation(rows)
    return order
