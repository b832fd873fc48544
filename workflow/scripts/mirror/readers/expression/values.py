"""What the numbers are: counts, TPM, FPKM, logarithms or z-scores; and what to do with odd ones.

The kind is told by facts each scale cannot escape: counts are whole and not negative, TPM add up to a million
a sample, ``log2(x + 0.001)`` has its floor at -9.9658, human expression on a log2 scale stays below about 25,
z-scores are centred with unit spread gene by gene.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...core.errors import InputError

LINEAR = {"counts", "tpm", "fpkm"}
LOGS = {"log2", "log1p"}
_LOG_MAX = 32.0  # log2 of the largest 32-bit count: nothing on a log scale is above it
_LOG_LOG_MAX = 4.6  # log2(1 + log2(1e7)): where a logarithm taken twice ends
_FEW = 8  # samples below which a gene's own mean and spread say little
_CENTRED = 0.8  # share of genes that must be centred with unit spread before values are z-scores
_DEEP = 2e6  # what samples of TPM and FPKM never add up to
_MANY = 1000  # genes from which the largest value of a whole transcriptome can be relied on


_GAP = 10.0  # between two samples that are next to each other in size: libraries differ so, but without a gap
_LOOKED_AT = 20_000  # genes are enough to see a sample's scale


@dataclass(frozen=True)
class Measured:
    """Numbers about a matrix on which the verdict rests; missing cells are left out.

    ``centred_share`` is the share of genes (those with one value left out) whose mean lies within one and whose
    standard deviation lies between 0.3 and 3: what z-scores are, gene by gene.
    """

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
    centred_share: float = 0.0
    overall_mean: float = 0.0
    overall_sd: float = 0.0
    total_spread: float = 0.0


def facts(values: np.ndarray) -> Measured:
    """Measure float32 (samples, genes) in blocks of genes, so that no second copy is made."""
    n, g = values.shape
    low, high, negative, whole, seen, at_low = np.inf, -np.inf, 0, 0, 0, 0
    totals = np.zeros(n)
    summed, squared = 0.0, 0.0
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
        summed += float(filled.sum())
        squared += float((filled**2).sum())
    if not seen:
        return Measured(n, g, np.nan, np.nan, 0.0, 0.0, 0.0, np.nan, np.nan, np.nan)
    varied, overall = spread > 0, summed / seen
    unit = (np.abs(centre) <= 1) & (spread >= 0.3) & (spread <= 3)
    low_total, middle, high_total = np.quantile(totals, (0.1, 0.5, 0.9))
    return Measured(
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
        centred_share=float(np.mean(unit[varied])) if varied.any() else 0.0,
        overall_mean=overall,
        overall_sd=float(np.sqrt(max(squared / seen - overall**2, 0.0))),
        total_spread=float((high_total - low_total) / abs(middle)) if middle else np.inf,
    )


def guess_kind(found: Measured, values: np.ndarray, hint: str | None, named: str | None = None) -> tuple[str, str]:
    """Return (kind, the reason in words).

    Parameters
    ----------
    found : Measured
        From `facts`.
    values : numpy.ndarray
        float32 (samples, genes), to tell ``log2(x + 1)`` from ``log1p``.
    hint : str or None
        What the format says (a column of STAR counts, PORPOISE's z-scores); believed unless the numbers forbid it.
    named : str or None
        What the file's name speaks of. It decides only between kinds that numbers cannot tell apart.
    """
    if hint and not contradictions(found, hint):
        return hint, "stated by the format"
    if found.negative_share == 0:
        if found.whole_share > 0.999:
            small = "" if found.maximum > _LOG_MAX / 2 else " (small ones)"
            rounded = _sums_to_a_million(found) and found.total_spread < 0.02
            return ("tpm", "whole numbers, and every sample adds up to a million: rounded TPM") if rounded else (
                "counts", f"whole numbers, none negative{small}")  # fmt: skip
        if found.maximum > _LOG_MAX or _sums_to_a_million(found):
            return _which_linear(found, named)
        if named in LINEAR and not contradictions(found, named):
            return named, "recognised by the file's name alone: the table is too small to tell by its numbers"
        return _which_log(found, values, named)
    if _is_zscore(found):
        return "zscore", (
            f"{found.centred_share:.0%} of the genes are centred (|mean| within 1) with a standard deviation near 1"
        )
    if _has_floor(found) and found.maximum <= _LOG_MAX:
        offset = 2.0**found.minimum
        return "log2", f"floor at {found.minimum:.4f}, which is log2 of {offset:.3g}"
    if found.minimum >= -_LOG_MAX and found.maximum <= _LOG_MAX:
        return "log2", (
            f"negative values (smallest {found.minimum:.4g}), genes neither centred nor of unit spread "
            f"({found.centred_share:.0%} are), none above {_LOG_MAX:g}"
        )
    kind, why = _which_linear(found, named)
    return kind, f"{why}; negative values (smallest {found.minimum:.4g}) and genes neither centred nor of unit spread"


def _is_zscore(found: Measured) -> bool:
    """Whether genes are centred with unit spread, gene by gene; for a handful of samples, over all cells."""
    if not 0.15 <= found.negative_share <= 0.85:
        return False
    if found.n_samples >= _FEW:
        return found.centred_share >= _CENTRED
    return abs(found.overall_mean) < 0.5 and 0.4 < found.overall_sd < 2.5 and not _has_floor(found)


def _sums_to_a_million(found: Measured) -> bool:
    return abs(found.median_total - 1e6) < 5e4 and found.total_spread < 0.1


def _which_linear(found: Measured, named: str | None) -> tuple[str, str]:
    """Tell counts, TPM and FPKM apart by what samples add up to; a file's name only where that says nothing."""
    if found.whole_share > 0.999:
        return "counts", "whole numbers"
    if _sums_to_a_million(found):
        return "tpm", f"samples add up to {found.median_total:.4g}"
    adds = f"linear (largest {found.maximum:.4g}); samples add up to {found.median_total:.4g}"
    if named in LINEAR:
        return named, f"{adds}; recognised by the file's name, since numbers do not tell estimated counts from FPKM"
    if found.median_total > _DEEP:
        return "counts", f"{adds}, more than TPM or FPKM do: estimated counts, not whole numbers"
    return "fpkm", f"{adds}, not to a million: FPKM, or TPM of some genes only, which are treated alike"


def _has_floor(found: Measured) -> bool:
    """Whether the minimum is the log of a usual offset, such as log2(0.001)."""
    return any(abs(found.minimum - np.log2(offset)) < 2e-3 for offset in (1e-3, 1e-2, 0.1, 0.05, 0.5, 1e-4, 1e-5))


def _which_log(found: Measured, values: np.ndarray, named: str | None = None) -> tuple[str, str]:
    """Tell log2(x + 1) from log1p by which of them, undone, makes a sample's sum a million."""
    some = values[: min(50, len(values))].astype(np.float64)
    for kind, undo in (("log2", np.exp2), ("log1p", np.exp)):
        total = float(np.median(np.nansum(undo(some) - 1, axis=1)))
        if any(abs(total / target - 1) < 0.05 for target in (1e6, 1e4)):
            return kind, f"undone, samples add up to {total:.4g}"
    if named in LOGS and not contradictions(found, named):
        return named, f"logarithms (largest {found.maximum:.4g}); the base is recognised by the file's name"
    if found.maximum > np.log(1e6 + 1):
        return "log2", f"largest value {found.maximum:.4g} is above what log1p of TPM can reach"
    return "log2", f"logarithms (largest {found.maximum:.4g}); base 2 assumed, which changes nothing once standardised"


def contradictions(found: Measured, kind: str) -> list[str]:
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
    elif kind == "zscore" and found.n_samples >= _FEW and found.centred_share < 0.2:
        out.append(
            f"z-scores are centred with unit spread gene by gene, and only {found.centred_share:.0%} of these genes are"
        )
    return out


def settle_kind(
    values: np.ndarray, stated: str, hint: str | None, file: str, named: str | None = None, negative: str = "error"
) -> tuple[str, dict[str, Any]]:
    """Return what the values are, and why; a contradiction is an error.

    Negative values of a linear kind that are no more than rounding (`negligible`) become 0 and are counted;
    others follow the ``negative`` rule.

    Parameters
    ----------
    values : numpy.ndarray
        float32 (samples, genes); negative values of counts, TPM and FPKM are changed in place.
    stated : str
        The config's ``values``; ``auto`` detects.
    hint, named : str or None
        As in `guess_kind`.
    file : str
        Named in the error.
    negative : {"error", "missing", "zero"}
        What becomes of negative counts, TPM and FPKM beyond rounding.

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
        kind, reason = guess_kind(found, values, hint, named)
    report: dict[str, Any] = {"kind": kind, "reason": reason}
    before = found
    if kind in LINEAR and found.negative_share > 0:
        report["negative"] = _clear_negatives(values, found, negative)
        found = facts(values)
    against = contradictions(found, kind)
    if against:
        guess, why = guess_kind(before, values, None)
        remedy = f"set `values: {guess}` ({why})" if guess != kind else "use the values before that step"
        if kind in LINEAR and guess in LINEAR and found.negative_share:
            remedy = (
                "correct the file (a code such as -9 or -999 stands for a missing value); where a batch correction "
                "made them, set `negative` to missing or zero"
            )
        raise InputError(f"values are taken as {kind} ({reason}), but {against[0]}", file=file, remedy=remedy)
    report["facts"] = asdict(before)
    if kind != "zscore" and (apart := two_scales(values)):
        report["two_scales"] = apart
    said = hint or named
    if said and said != kind:
        report["note"] = f"the format or name says {said}, the numbers say {kind}"
    if kind == "counts" and found.whole_share < 0.999:
        report["note"] = "estimated counts (RSEM): not whole numbers"
    if kind in LOGS and _has_floor(found):
        report["offset"] = float(f"{2.0**found.minimum:.3g}")
    return kind, report


def two_scales(values: np.ndarray) -> dict[str, Any]:
    """Whether the samples fall into two groups of sizes that are far apart, as when files of two kinds were joined.

    The size of a sample is the 99th percentile of its values.

    Parameters
    ----------
    values : numpy.ndarray
        float32 (samples, genes).

    Returns
    -------
    dict
        Empty, or how many samples lie below and above the gap, and the ranges of both groups' sizes. Groups of fewer
        than three samples are outliers, not a scale.
    """
    some = values[:, :: max(1, -(-values.shape[1] // _LOOKED_AT))]
    some = some[np.isfinite(some).any(axis=1)]
    if len(some) < 6:
        return {}
    sizes = np.sort(np.nanquantile(some, 0.99, axis=1).astype(np.float64))
    if sizes[0] <= 0:
        return {}
    ratio = sizes[1:] / sizes[:-1]
    at = int(ratio[2:-2].argmax()) + 2
    if ratio[at] < _GAP:
        return {}
    return {
        "below": at + 1,
        "above": len(sizes) - at - 1,
        "ranges": [[float(sizes[0]), float(sizes[at])], [float(sizes[at + 1]), float(sizes[-1])]],
    }


def negligible(found: Measured) -> float:
    """Return how far below zero a linear value may lie and still be rounding.

    Undoing ``log2(x + 0.001)`` that was stored with few digits gives zeros of -1e-8 to -2e-5.
    """
    return max(1e-3, 1e-7 * found.maximum)


def _clear_negatives(values: np.ndarray, found: Measured, policy: str) -> dict[str, Any]:
    """Set negative values of a linear kind to 0 (rounding) or by the policy; returns the counts."""
    bound = negligible(found)
    tiny, below, step = 0, 0, max(1, (1 << 22) // max(len(values), 1))
    for start in range(0, values.shape[1], step):
        block = values[:, start : start + step]
        small = (block < 0) & (block >= -bound)
        tiny += int(small.sum())
        block[small] = 0.0
        rest = block < 0
        below += int(rest.sum())
        if policy != "error":
            block[rest] = 0.0 if policy == "zero" else np.nan
    return {"rounding": tiny, "bound": bound, "smallest": found.minimum, "cells": below}
