"""What the numbers are: counts, TPM, FPKM, logarithms or z-scores; and what to do with odd ones.

The kind is told by facts each scale cannot escape: counts are whole and not negative, TPM add up to a million
a sample, ``log2(x + 0.001)`` has its floor at -9.9658, human expression on a log2 scale stays below about 25,
z-scores are centred with unit spread gene by gene.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import InputError

LINEAR = {"counts", "tpm", "fpkm"}
LOGS = {"log2", "log1p"}
_LOG_MAX = 32.0  # log2 of the largest 32-bit count: nothing on a log scale is above it
_LOG_LOG_MAX = 4.6  # log2(1 + log2(1e7)): where a logarithm taken twice ends
_MANY = 1000  # genes from which the largest value of a whole transcriptome can be relied on


@dataclass(frozen=True)
class Facts:
    """Numbers about a matrix on which the verdict rests; missing cells are left out."""

    n_samples: int
    n_genes: int
    minimum: float
    maximum: float
    negative_share: float
    whole_share: float
    at_minimum_share: float
    median_total: float
    gene_mean_abs: float
    gene_sd: float


def facts(values: np.ndarray) -> Facts:
    """Measure float32 (samples, genes) in blocks of genes, so that no second copy is made."""
    n, g = values.shape
    low, high, negative, whole, seen, at_low = np.inf, -np.inf, 0, 0, 0, 0
    totals = np.zeros(n)
    centre, spread = np.empty(g, np.float32), np.empty(g, np.float32)
    step = max(1, (1 << 22) // max(n, 1))
    for start in range(0, g, step):
        block = values[:, start : start + step].astype(np.float64)
        ok = np.isfinite(block)
        cells = block[ok]
        if cells.size:
            smallest = cells.min()
            at_low = (at_low if smallest >= low else 0) + (np.sum(cells == smallest) if smallest <= low else 0)
            low, high = min(low, smallest), max(high, cells.max())
            negative += int((cells < 0).sum())
            whole += int((cells == np.round(cells)).sum())
            seen += cells.size
        filled = np.where(ok, block, 0.0)
        totals += filled.sum(axis=1)
        count = np.maximum(ok.sum(axis=0), 1)
        mean = filled.sum(axis=0) / count
        centre[start : start + step] = mean
        spread[start : start + step] = np.sqrt(np.where(ok, (block - mean) ** 2, 0).sum(axis=0) / count)
    if not seen:
        return Facts(n, g, np.nan, np.nan, 0.0, 0.0, 0.0, np.nan, np.nan, np.nan)
    return Facts(
        n_samples=n,
        n_genes=g,
        minimum=float(low),
        maximum=float(high),
        negative_share=negative / seen,
        whole_share=whole / seen,
        at_minimum_share=float(at_low) / seen,
        median_total=float(np.median(totals)),
        gene_mean_abs=float(np.median(np.abs(centre))),
        gene_sd=float(np.median(spread)),
    )


def guess_kind(found: Facts, values: np.ndarray, hint: str | None) -> tuple[str, str]:
    """Return (kind, the reason in words).

    Parameters
    ----------
    found : Facts
        From `facts`.
    values : numpy.ndarray
        float32 (samples, genes), to tell ``log2(x + 1)`` from ``log1p``.
    hint : str or None
        What the format or the file's name says; believed unless the numbers forbid it.
    """
    if hint and not contradictions(found, hint):
        return hint, "stated by the format or the file's name"
    if found.negative_share == 0:
        if found.whole_share > 0.999 and found.maximum > _LOG_MAX / 2:
            return "counts", "whole numbers, none negative"
        if found.whole_share > 0.999:
            return "counts", "whole numbers, none negative (small ones)"
        if abs(found.median_total - 1e6) < 5e4:
            return "tpm", f"samples add up to {found.median_total:.4g}"
        if found.maximum > _LOG_MAX:
            return "fpkm", (
                f"linear (largest {found.maximum:.4g}); samples add up to {found.median_total:.4g}, not to a million: "
                "FPKM, or TPM of some genes only, which are treated alike"
            )
        return _which_log(found, values)
    if found.minimum < -_LOG_MAX or found.maximum > _LOG_MAX:
        span = f"negative values and a range ({found.minimum:.4g} to {found.maximum:.4g}) no logarithm has"
        return ("zscore", span) if found.gene_mean_abs < 2 else (hint if hint in LINEAR else "counts", span)
    if found.n_samples >= 8 and found.gene_mean_abs < 0.5 and 0.4 < found.gene_sd < 2.5 and not _has_floor(found):
        return "zscore", f"genes centred (median |mean| {found.gene_mean_abs:.2g}) with spread {found.gene_sd:.2g}"
    if _has_floor(found):
        offset = 2.0**found.minimum
        return "log2", f"floor at {found.minimum:.4f}, which is log2 of {offset:.3g}"
    if found.gene_mean_abs >= 0.5:
        return "log2", f"negative values, genes not centred (median |mean| {found.gene_mean_abs:.2g})"
    return "zscore", f"negative values, genes near zero (median |mean| {found.gene_mean_abs:.2g})"


def _has_floor(found: Facts) -> bool:
    """Whether the minimum is the log of a usual offset, such as log2(0.001)."""
    return any(abs(found.minimum - np.log2(offset)) < 2e-3 for offset in (1e-3, 1e-2, 0.1, 0.05, 0.5, 1e-4, 1e-5))


def _which_log(found: Facts, values: np.ndarray) -> tuple[str, str]:
    """Tell log2(x + 1) from log1p by which of them, undone, makes a sample's sum a million."""
    some = values[: min(50, len(values))].astype(np.float64)
    for kind, undo in (("log2", np.exp2), ("log1p", np.exp)):
        total = float(np.median(np.nansum(undo(some) - 1, axis=1)))
        if any(abs(total / target - 1) < 0.05 for target in (1e6, 1e4)):
            return kind, f"undone, samples add up to {total:.4g}"
    if found.maximum > np.log(1e6 + 1):
        return "log2", f"largest value {found.maximum:.4g} is above what log1p of TPM can reach"
    return "log2", f"logarithms (largest {found.maximum:.4g}); base 2 assumed, which changes nothing once standardised"


def contradictions(found: Facts, kind: str) -> list[str]:
    """List what the numbers say against being ``kind``; empty when they agree with it."""
    out = []
    if np.isnan(found.maximum):
        return ["there is not one number in it"]
    if kind in LINEAR:
        if found.negative_share > 0:
            share = f"{found.negative_share:.2%}"
            out.append(f"{kind} cannot be negative, but {share} of the values are (smallest {found.minimum:.4g})")
        elif found.maximum < _LOG_MAX and found.whole_share < 0.999 and (found.n_genes >= 50 or kind == "counts"):
            out.append(
                f"the largest value is {found.maximum:.4g} and values are not whole: these look like logarithms, "
                f"and as {kind} the logarithm would be taken twice"
            )
    elif kind in LOGS:
        if found.maximum > _LOG_MAX:
            out.append(f"the largest value is {found.maximum:.4g}, which no logarithm of expression reaches")
        elif found.minimum < -_LOG_MAX:
            out.append(f"the smallest value is {found.minimum:.4g}, which no logarithm of expression reaches")
        elif found.negative_share == 0 and found.whole_share > 0.999 and found.maximum > 0:
            out.append("all values are whole numbers: these look like counts")
        elif kind == "log1p" and found.negative_share > 0:
            out.append(f"log1p cannot be negative, but the smallest value is {found.minimum:.4g}")
        elif found.negative_share == 0 and found.maximum < _LOG_LOG_MAX and found.n_genes >= _MANY:
            out.append(
                f"the largest of {found.n_genes} genes is {found.maximum:.4g}: the logarithm was taken twice, "
                "or the values were scaled to a small range"
            )
    elif kind == "zscore" and found.negative_share == 0:
        out.append("z-scores have negative values, these have none")
    return out


def settle_kind(values: np.ndarray, stated: str, hint: str | None, file: str) -> tuple[str, dict[str, Any]]:
    """Return what the values are, and why; a contradiction is an error.

    Parameters
    ----------
    values : numpy.ndarray
        float32 (samples, genes).
    stated : str
        The config's ``values``; ``auto`` detects.
    hint : str or None
        As in `guess_kind`.
    file : str
        Named in the error.

    Raises
    ------
    InputError
        When the stated kind is impossible, or a logarithm was taken twice.
    """
    found = facts(values)
    if np.isnan(found.maximum):
        raise InputError("holds no number, only missing values", file=file, remedy="export it again")
    if stated != "auto":
        kind, reason = stated, "stated in the config"
    else:
        kind, reason = guess_kind(found, values, hint)
    against = contradictions(found, kind)
    if against:
        guess, why = guess_kind(found, values, None)
        remedy = f"set `values: {guess}` ({why})" if guess != kind else "use the values before that step"
        if kind in LINEAR and guess in LINEAR and found.negative_share:
            remedy = "correct the file; where a batch correction made them, set `negative` to missing or zero"
        raise InputError(f"values are taken as {kind} ({reason}), but {against[0]}", file=file, remedy=remedy)
    report: dict[str, Any] = {"kind": kind, "reason": reason, "facts": asdict(found)}
    if hint and hint != kind:
        report["note"] = f"the format or name says {hint}, the numbers say {kind}"
    if kind == "counts" and found.whole_share < 0.999:
        report["note"] = "estimated counts (RSEM): not whole numbers"
    if kind in LOGS and _has_floor(found):
        report["offset"] = float(f"{2.0**found.minimum:.3g}")
    return kind, report


def apply_value_rules(
    values: np.ndarray,
    genes: pd.DataFrame,
    kind: str,
    missing: str,
    constant: str,
    extreme: str,
    extreme_z: float,
    file: str,
) -> tuple[np.ndarray, pd.DataFrame, dict[str, Any]]:
    """Apply the rules for missing cells, constant genes and extreme z-scores; count what each did.

    Nothing is ever set to 0.

    Parameters
    ----------
    values : numpy.ndarray
        float32 (patients, genes); changed in place where values are clipped.
    genes : pandas.DataFrame
        One row a gene, column ``id``.
    kind : str
        What the values are.
    missing : {"error", "drop_gene", "median"}
        ``median`` leaves NaN, for each fold to fill with its training patients' median.
    constant : {"keep", "drop"}
        Genes with one value in all patients.
    extreme : {"clip", "keep", "drop_gene", "error"}
        z-scores beyond ``extreme_z`` in size. Other kinds have no such bound and are left alone.
    extreme_z : float
        The bound, in standard deviations.
    file : str
        Named in errors.
    """
    names = genes["id"].to_numpy()
    infinite = int(np.isinf(values).sum())
    if infinite:
        values[np.isinf(values)] = np.nan  # log2(0) without an offset: there is no number, so it is missing
    gap = np.isnan(values)
    per_gene = gap.sum(axis=0)
    report: dict[str, Any] = {
        "missing": {
            "policy": missing,
            "cells": int(per_gene.sum()),
            "infinite_cells": infinite,
            "genes": int((per_gene > 0).sum()),
            "genes_dropped": 0,
            "examples": [str(name) for name in names[per_gene > 0][:20]],
        }
    }
    if per_gene.any():
        if missing == "error":
            raise InputError(
                f"{int(per_gene.sum())} values are missing in {int((per_gene > 0).sum())} genes "
                f"({', '.join(map(str, names[per_gene > 0][:5]))})",
                file=file,
                remedy="set `missing` to drop_gene or median, or fill the file",
            )
        drop = per_gene > 0 if missing == "drop_gene" else per_gene == len(values)
        if drop.all():
            worst = int(gap.sum(axis=1).argmax())
            raise InputError(
                "every gene has missing values",
                file=file,
                row=f"sample row {worst} has most",
                remedy="`missing: median`",
            )
        report["missing"]["genes_dropped"] = int(drop.sum())
        if drop.any():
            values, genes, names = values[:, ~drop], genes[~drop].reset_index(drop=True), names[~drop]
    del gap

    flat = np.nanmax(values, axis=0) == np.nanmin(values, axis=0) if len(values) > 1 else np.zeros(len(names), bool)
    report["constant"] = {
        "policy": constant,
        "genes": int(flat.sum()),
        "examples": [str(name) for name in names[flat][:20]],
    }
    if constant == "drop" and flat.any():
        values, genes, names = values[:, ~flat], genes[~flat].reset_index(drop=True), names[~flat]
    if kind == "zscore":
        values, genes, report["extreme"] = _extremes(values, genes, names, extreme, extreme_z, file)
    if values.shape[1] == 0:
        raise InputError("no gene is left after the rules for missing, constant and extreme values", file=file)
    return values, genes, report


def _extremes(
    values: np.ndarray, genes: pd.DataFrame, names: np.ndarray, policy: str, bound: float, file: str
) -> tuple[np.ndarray, pd.DataFrame, dict[str, Any]]:
    size = np.fmax(np.nanmax(values, axis=0), -np.nanmin(values, axis=0))
    beyond = size > bound
    cells = int((np.abs(values[:, beyond]) > bound).sum())
    worst = np.argsort(-size)[:5]
    report = {
        "policy": policy,
        "bound": bound,
        "cells": cells,
        "genes": int(beyond.sum()),
        "largest": float(size.max()),
        "worst": {str(names[g]): float(size[g]) for g in worst if beyond[g]},
    }
    if not cells or policy == "keep":
        return values, genes, report
    if policy == "error":
        raise InputError(
            f"{cells} z-scores in {int(beyond.sum())} genes are beyond {bound:g} (largest {size.max():.6g}, "
            f"{names[worst[0]]})",
            file=file,
            remedy="set `extreme` to clip, keep or drop_gene",
        )
    if policy == "drop_gene":
        return values[:, ~beyond], genes[~beyond].reset_index(drop=True), report
    np.clip(values, -bound, bound, out=values)
    return values, genes, report
