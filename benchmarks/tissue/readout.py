"""Genes predicted from vectors, and style clusters against published ones. Functions of arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
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
    """Ridge regression of all genes; the penalty has the highest mean r over held-out inner parts."""

    def __init__(self, x: np.ndarray, y: np.ndarray, parts: np.ndarray) -> None:
        self.mean, self.sd = x.mean(0), np.maximum(x.std(0), 1e-7)
        z = (x - self.mean) / self.sd
        found = np.zeros((len(PENALTIES), y.shape[1]))
        for part in np.unique(parts):
            held = parts == part
            for place, penalty in enumerate(PENALTIES):
                model = Ridge(alpha=penalty).fit(z[~held], y[~held])
                found[place] += correlations(model.predict(z[held]), y[held])
        self.inner_r = found[found.mean(1).argmax()] / len(np.unique(parts))
        self.model = Ridge(alpha=PENALTIES[found.mean(1).argmax()]).fit(z, y)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Genes (n, G)."""
        return self.model.predict((x - self.mean) / self.sd)


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
