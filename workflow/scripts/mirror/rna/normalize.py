"""From the values as read to the values the model sees, one sample at a time.

Nothing here looks at two patients at once: library size, logarithms and ranks need one sample
only, so this step may run before the patients are divided into folds. Everything that is fitted
over patients (gene filter, scaling, quantile reference, ComBat, medians) waits for
:mod:`mirror.rna.transform` and :mod:`mirror.rna.selection`, which see training patients only.
"""

from __future__ import annotations

import json
import logging
from importlib.metadata import version

import numpy as np
import scanpy as sc
from anndata import AnnData
from scipy.stats import rankdata

from ..config.rna import RnaSettings
from ..core.errors import InputError
from .matrix import provenance, values_kind

log = logging.getLogger("mirror")

LOGS = ("log2", "log1p")
LINEAR = ("counts", "tpm", "fpkm")
RESULT = {"log1p_cpm": "log1p", "log1p": "log1p"}


def plan(values: str, settings: RnaSettings) -> str:
    """Which normalisation follows from what was read: log1p_cpm, log1p or none.

    Parameters
    ----------
    values : str
        counts, tpm, fpkm, log2, log1p or zscore.
    settings : RnaSettings
        ``normalize: auto`` chooses; anything else is checked against ``values``.

    Raises
    ------
    InputError
        The two contradict each other: a logarithm of logarithms or of z-scores, a library size
        of values that already have one.
    """
    if values not in (*LINEAR, *LOGS, "zscore"):
        raise InputError(f"unknown kind of expression values {values!r}")
    wanted = settings.normalize
    if wanted == "auto":
        return "log1p_cpm" if values == "counts" else "log1p" if values in LINEAR else "none"
    if wanted != "none" and values not in LINEAR:
        raise InputError(
            f"normalize: {wanted} would take logarithms of values that are {values} already",
            remedy="set rna.normalize to auto or none, or state what the file holds in the cohort's expression.values",
        )
    if wanted == "log1p_cpm" and values != "counts":
        raise InputError(
            f"normalize: log1p_cpm needs counts, but the values are {values}, which have a library size already",
            remedy="set rna.normalize to auto or log1p",
        )
    return wanted


def normalize(adata: AnnData, settings: RnaSettings) -> AnnData:
    """Apply the per-sample transforms.

    Parameters
    ----------
    adata : AnnData
        As read, patients x genes; ``uns["mirror"]`` is a JSON object whose ``values`` says what
        the numbers are. It is not changed.
    settings : RnaSettings
        ``normalize``, ``target_sum`` and, for ``batch: rank``, the per-sample ranks.

    Returns
    -------
    AnnData
        ``X`` float32 (patients, genes) normalised, ``layers["read"]`` float32 as read,
        ``uns["mirror"]`` with the key ``normalized``. Missing values stay missing.

    Raises
    ------
    InputError
        The settings contradict the values; negative or infinite linear values; a sample whose
        counts are all zero.
    """
    values = values_kind(adata)
    how = plan(values, settings)
    read = adata.X.toarray() if hasattr(adata.X, "toarray") else np.asarray(adata.X)
    read = np.ascontiguousarray(read, dtype=np.float32)
    _check(read, values, adata)
    out = AnnData(X=read.copy(), obs=adata.obs.copy(), var=adata.var.copy(), uns=dict(adata.uns))
    out.layers["read"] = read
    if how == "log1p_cpm":
        _library_size(out, settings.target_sum)
    if how in ("log1p_cpm", "log1p"):
        sc.pp.log1p(out)
        del out.uns["log1p"]  # scanpy's note of the base; ours is in the provenance
    if settings.batch == "rank":
        out.X = sample_ranks(out.X)
    note = provenance(adata)
    note["normalized"] = {
        "method": how,
        "target_sum": settings.target_sum if how == "log1p_cpm" else None,
        "per_sample_rank": settings.batch == "rank",
        "scale": "rank" if settings.batch == "rank" else RESULT.get(how, values),
        "scanpy": version("scanpy"),
    }
    out.uns["mirror"] = json.dumps(note, sort_keys=True)
    log.info("Expression: %d patients x %d genes, %s -> %s", out.n_obs, out.n_vars, values, note["normalized"]["scale"])
    return out


def _check(read: np.ndarray, values: str, adata: AnnData) -> None:
    if np.isinf(read).any():
        row = int(np.flatnonzero(np.isinf(read).any(axis=1))[0])
        raise InputError("infinite expression", row=str(adata.obs_names[row]))
    if values in LINEAR and (read < 0).any():
        row = int(np.flatnonzero((read < 0).any(axis=1))[0])
        raise InputError(
            f"negative expression in values stated to be {values}",
            row=str(adata.obs_names[row]),
            remedy="state what the file holds in the cohort's expression.values (log2 or zscore)",
        )


def _library_size(adata: AnnData, target_sum: float) -> None:
    """Scale each sample's counts to ``target_sum``, in place; a missing count counts as unseen, not as zero."""
    missing = np.isnan(adata.X)
    if missing.any():
        adata.X[missing] = 0
    totals = adata.X.sum(axis=1, dtype=np.float64)
    if (totals <= 0).any():
        raise InputError("every count is zero", row=str(adata.obs_names[int(np.argmin(totals))]))
    sc.pp.normalize_total(adata, target_sum=target_sum)
    if missing.any():
        adata.X[missing] = np.nan


def sample_ranks(matrix: np.ndarray) -> np.ndarray:
    """Ranks of the genes within each sample, in (0, 1); ties share their mean rank, missing stays missing.

    Parameters
    ----------
    matrix : ndarray, float (n, G)

    Returns
    -------
    ndarray, float32 (n, G)
        ``(rank - 0.5) / genes measured in the sample``.
    """
    out = np.empty(matrix.shape, dtype=np.float32)
    for row, sample in zip(out, matrix, strict=True):
        measured = max(1, int(np.count_nonzero(~np.isnan(sample))))
        row[:] = (rankdata(sample, nan_policy="omit") - 0.5) / measured
    return out
