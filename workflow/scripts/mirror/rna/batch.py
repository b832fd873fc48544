"""Quantile normalisation and ComBat whose parameters come from training patients and are applied to any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from ..core.errors import InputError


def quantile_reference(matrix: np.ndarray) -> np.ndarray:
    """Mean over samples of the sorted expression [1]_.

    Parameters
    ----------
    matrix : ndarray, float (n, G)
        Samples with missing values contribute their quantiles over the genes they have.

    Returns
    -------
    ndarray, float64 (G,)
        Ascending.

    References
    ----------
    .. [1] Bolstad et al., A comparison of normalization methods for high density oligonucleotide
       array data, Bioinformatics 19:185-193, 2003.
    """
    total = np.zeros(matrix.shape[1])
    grid = (np.arange(matrix.shape[1]) + 0.5) / matrix.shape[1]
    for sample in matrix:
        kept = np.sort(sample[~np.isnan(sample)]).astype(np.float64)
        if kept.size == 0:
            raise InputError("a sample has no measured gene, so it has no quantiles")
        total += kept if kept.size == grid.size else np.interp(grid, (np.arange(kept.size) + 0.5) / kept.size, kept)
    return total / len(matrix)


def quantile_map(matrix: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Give each sample the reference's distribution; ties get the mean of their quantiles' position.

    Returns
    -------
    ndarray, float32 (n, G)
        Missing stays missing.
    """
    grid = (np.arange(reference.size) + 0.5) / reference.size
    out = np.full(matrix.shape, np.nan, dtype=np.float32)
    for row, sample in zip(out, matrix, strict=True):
        seen = ~np.isnan(sample)
        if seen.any():
            place = (rankdata(sample[seen]) - 0.5) / np.count_nonzero(seen)
            row[seen] = np.interp(place, grid, reference)
    return out


@dataclass(frozen=True)
class Combat:
    """ComBat's parameters, fitted on training patients.

    Attributes
    ----------
    levels : tuple of str
        Batches (cohorts), sorted.
    mean, sd : ndarray, float64 (G,)
        Grand mean and pooled standard deviation; 1 where the gene is constant within batches.
    shift, spread : ndarray, float64 (batches, G)
        Empirical Bayes estimates of each batch's additive and multiplicative (standard deviation) effect.

    References
    ----------
    Johnson, Li, Rabinovic, Adjusting batch effects in microarray expression data using empirical
    Bayes methods, Biostatistics 8:118-127, 2007 (parametric priors, no covariates).
    """

    levels: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    shift: np.ndarray
    spread: np.ndarray

    @classmethod
    def fit(cls, matrix: np.ndarray, batches: np.ndarray) -> Combat:
        """Fit on ``matrix`` (n, G) without missing values and ``batches`` (n,).

        Raises
        ------
        InputError
            A batch has fewer than two training patients, or there are fewer than two genes.
        """
        batches = np.asarray(batches, dtype=str)
        levels, counts = np.unique(batches, return_counts=True)
        if counts.min() < 2:
            raise InputError(
                "ComBat needs two training patients of a batch",
                row=str(levels[int(np.argmin(counts))]),
                remedy="pool that cohort with another, or set rna.batch to another value",
            )
        if matrix.shape[1] < 2:
            raise InputError("ComBat shares information across genes and needs two of them")
        x = matrix.astype(np.float64)
        members = [batches == level for level in levels]
        means = np.stack([x[rows].mean(axis=0) for rows in members])
        grand = (counts / counts.sum()) @ means
        within = sum(((x[rows] - mean) ** 2).sum(axis=0) for rows, mean in zip(members, means, strict=True))
        pooled = np.sqrt(within / len(x))
        flat = pooled == 0
        pooled[flat] = 1.0
        z = (x - grand) / pooled
        z[:, flat] = 0.0
        effects = [_posterior(z[rows]) for rows in members]
        shift, spread = (np.stack(part) for part in zip(*effects, strict=True))
        shift[:, flat], spread[:, flat] = 0.0, 1.0
        return cls(tuple(str(level) for level in levels), grand, pooled, shift, np.sqrt(spread))

    def apply(self, matrix: np.ndarray, batches: np.ndarray) -> np.ndarray:
        """Remove each sample's batch effect, float32 (n, G).

        Raises
        ------
        InputError
            A batch that no training patient belongs to.
        """
        batches = np.asarray(batches, dtype=str)
        unknown = sorted(set(batches) - set(self.levels))
        if unknown:
            raise InputError(
                f"no training patient belongs to batch {str(unknown[0])!r}, so its effect is unknown",
                remedy="split so that each cohort has training patients, or set rna.batch to none, rank or quantile",
            )
        out = np.empty(matrix.shape, dtype=np.float32)
        for number, level in enumerate(self.levels):
            rows = np.flatnonzero(batches == level)
            z = (matrix[rows].astype(np.float64) - self.mean) / self.sd
            out[rows] = (z - self.shift[number]) / self.spread[number] * self.sd + self.mean
        return out


def _posterior(z: np.ndarray, tolerance: float = 1e-4, rounds: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Conditional posterior means of a batch's shift and variance, (G,) each; ``z`` is (patients, G)."""
    n = len(z)
    shift_hat, spread_hat = z.mean(axis=0), z.var(axis=0, ddof=1)
    prior_mean, prior_var = shift_hat.mean(), shift_hat.var()
    m, s2 = spread_hat.mean(), spread_hat.var(ddof=1)
    if s2 <= 0 or m <= 0:
        return shift_hat, np.where(spread_hat > 0, spread_hat, 1.0)
    a, b = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
    squares, sums = (z**2).sum(axis=0), z.sum(axis=0)
    shift, spread = shift_hat, spread_hat
    for _ in range(rounds):
        new_shift = (prior_var * n * shift_hat + spread * prior_mean) / (prior_var * n + spread)
        new_spread = (0.5 * (squares - 2 * new_shift * sums + n * new_shift**2) + b) / (n / 2 + a - 1)
        change = max(
            np.abs((new_shift - shift) / np.where(shift == 0, 1, shift)).max(),
            np.abs((new_spread - spread) / np.where(spread == 0, 1, spread)).max(),
        )
        shift, spread = new_shift, new_spread
        if change <= tolerance:
            break
    return shift, spread
