"""What looks wrong in an expression matrix although it reads well: sums among genes, other data, other species."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ...core.errors import InputError

TOTALS = {"total", "totals", "sum", "sums", "mean", "means", "average", "avg", "median", "summe", "mittelwert", "somme"}
_HOW: dict[str, Callable[..., np.ndarray]] = {"sum": np.nansum, "mean": np.nanmean, "median": np.nanmedian}
CALLS = 12  # distinct values up to which a matrix holds calls (copy number, mutations), not expression
CELLS = 1000  # cells below which that says nothing
SHARE = 0.1  # of the genes, from which a second kind of names is no accident
_MOUSE = re.compile(r"^[A-Z][a-z]+[a-z0-9]*$")
_FOREIGN = re.compile(r"^ENS(?P<species>[A-Z]{3,4})[GTP]\d{11}", re.IGNORECASE)
_PART = re.compile(r"^ENS(?:[A-Z]{3,4})?(?P<part>[TP])\d{11}", re.IGNORECASE)
_CELL = re.compile(
    r"^(#(NAME\?|REF!|VALUE!|DIV/0!|N/A|NUM!|NULL!|WERT!|BEZUG!|NV)|TRUE|FALSE|WAHR|FALSCH)$", re.IGNORECASE
)
LOOKED_AT = 4000
OFF = 1.5  # factor by which the usual spread of z-scores may differ from 1


def refuse_totals(values: np.ndarray, samples: Sequence[str], genes: Sequence[str], file: str) -> None:
    """Refuse a row or column that is the sum, mean or median of the others and bears such a name.

    Parameters
    ----------
    values : ndarray
        float32 (samples, genes), as read.
    samples, genes : sequence of str
        Names, as read.
    file : str
        Named in the error.

    Raises
    ------
    InputError
        Names the row or column.
    """
    for names, axis, what in ((genes, 1, "genes"), (samples, 0, "samples")):
        for at in (i for i, name in enumerate(names) if str(name).strip().lower() in TOTALS):
            own = np.take(values, at, axis=axis).astype(np.float64)
            rest = np.delete(values, at, axis=axis)
            if not rest.shape[axis] or not np.isfinite(own).any():
                continue
            for how, function in _HOW.items():
                expected = function(rest, axis=axis, **({} if how == "median" else {"dtype": np.float64}))
                known = np.isfinite(own) & np.isfinite(expected)
                if known.any() and np.allclose(own[known], expected[known], rtol=0.01, atol=1e-3):
                    raise InputError(
                        f"{str(names[at])!r} is the {how} of the other {what}, not one of them",
                        file=file,
                        remedy="delete it from the table",
                    )


def doubts(values: np.ndarray, samples: Sequence[str], genes: pd.DataFrame, kind: str) -> list[str]:
    """Return what looks wrong, one sentence each.

    Parameters
    ----------
    values : ndarray
        float32 (samples, genes).
    samples : sequence of str
        Names of the rows.
    genes : DataFrame
        ``read_as`` (names in the file) and ``ensembl``.
    kind : str
        What the values are taken for.
    """
    out: list[str] = []
    some = values[:, :: max(1, -(-values.shape[1] // LOOKED_AT))]
    with np.errstate(all="ignore"):
        high, low = np.nanmax(some, axis=1, initial=-np.inf), np.nanmin(some, axis=1, initial=np.inf)
    flat = [str(sample) for sample, up, down in zip(samples, high, low, strict=True) if up == down]
    if flat and some.shape[1] > 10:
        out.append(f"{len(flat)} samples hold one value for all genes ({', '.join(flat[:3])}): they say nothing")
    out += _kinds(some, kind)
    out += _shares(values, kind)
    out += _spreadsheet_cells([str(name) for name in genes["read_as"]])
    out += _names([str(name) for name in genes["read_as"]], genes["ensembl"].astype(bool).to_numpy())
    return out


def _shares(values: np.ndarray, kind: str) -> list[str]:
    """Samples that add up to a power of ten, read as logarithms: shares of a whole, as in percent."""
    if kind not in ("log2", "log1p") or values.shape[1] < 100 or not np.isfinite(values).all() or values.min() < 0:
        return []
    totals = values.sum(axis=1, dtype=np.float64)
    whole = next((10.0**k for k in range(7) if (np.abs(totals / 10.0**k - 1) < 1e-3).all()), None)
    if whole is None:
        return []
    return [f"every sample adds up to {whole:g}: shares of a whole, not the logarithms as which they are read; use "
            "counts or TPM, or set `values`"]  # fmt: skip


def _kinds(some: np.ndarray, kind: str) -> list[str]:
    some = some[:: max(1, len(some) // LOOKED_AT)]
    cells = some[np.isfinite(some)]
    if cells.size < CELLS:
        return []
    distinct = np.unique(cells[: 20 * CELLS])
    if len(distinct) <= CALLS and len(np.unique(cells)) <= CALLS:
        shown = ", ".join(f"{value:g}" for value in distinct[:6])
        return [f"only {len(distinct)} different values ({shown}): copy-number calls or mutations, not expression?"]
    if kind != "counts" and cells.min() >= 0 and cells.max() <= 1:
        return ["all values lie between 0 and 1: ranks, shares or methylation (beta values), not expression?"]
    if kind == "zscore":
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # genes without a value
            spread = np.nanstd(some, axis=0)
        usual = float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0
        if not 1 / OFF <= usual <= OFF:
            return [f"genes are centred, but their standard deviation is {usual:.2g} (median), not 1: centred "
                    "logarithms, treated like z-scores"]  # fmt: skip
    if kind in ("log2", "log1p") and cells.min() < 0 and some.shape[1] >= 100:
        with np.errstate(all="ignore"):
            mean, spread = np.nanmean(some, axis=1), np.nanstd(some, axis=1)
        if (np.abs(mean) < 0.2).all() and (np.abs(spread - 1) < 0.2).all():
            return ["every sample has mean 0 and standard deviation 1: standardised by sample, not by gene; use the "
                    "values before that step"]  # fmt: skip
    return []


def _spreadsheet_cells(names: list[str]) -> list[str]:
    """Names that are a spreadsheet's errors or truth values."""
    spoilt = [name for name in names if _CELL.match(name)]
    if not spoilt:
        return []
    return [f"{len(spoilt)} gene names are a spreadsheet's errors or truth values ({', '.join(spoilt[:3])})"]


def _names(names: list[str], ensembl: np.ndarray) -> list[str]:
    """What the genes' names say: two kinds of names, another species, transcripts."""
    out: list[str] = []
    if len(names) < 20:
        return out
    share = float(ensembl.mean())
    if SHARE <= share <= 1 - SHARE:
        out.append(
            f"{int(ensembl.sum())} genes have Ensembl identifiers and {int((~ensembl).sum())} other names: one gene "
            "may be there under both, and gene lists meet a part of them only"
        )
    foreign = [match["species"].upper() for name in names if (match := _FOREIGN.match(name))]
    if len(foreign) > SHARE * len(names):
        out.append(
            f"{len(foreign)} genes are not human (Ensembl identifiers of {max(set(foreign), key=foreign.count)})"
        )
    else:
        symbols = [name for name, known in zip(names, ensembl, strict=True) if not known]
        lower = sum(bool(_MOUSE.match(name)) for name in symbols)
        if len(symbols) > 20 and lower > 0.6 * len(symbols):
            out.append("gene symbols are written as those of the mouse (Trp53): human gene lists will not meet them")
    parts = [match["part"].upper() for name in names if (match := _PART.match(name))]
    if len(parts) > SHARE * len(names):
        what = "transcripts" if parts.count("T") * 2 >= len(parts) else "proteins"
        out.append(f"{len(parts)} rows are {what}, not genes (a `probe_map` adds them up, or use the table of genes)")
    return out


def refuse_log10(values: np.ndarray, kind: str, stated: bool, file: str) -> None:
    """Refuse logarithms to base 10, which would be read as those to base 2.

    Raises
    ------
    InputError
        Where ``10**x - 1`` adds up to a million per sample and nothing else was stated.
    """
    if kind not in ("log2", "log1p") or stated:
        return
    some = values[:50].astype(np.float64)
    if not np.isfinite(some).any() or np.nanmax(some) > 6.1 or np.nanmin(some) < 0:
        return
    totals = np.nansum(np.power(10.0, some) - 1, axis=1)
    if any(np.median(np.abs(totals / target - 1)) < 0.05 for target in (1e6, 1e4)):
        raise InputError(
            "holds logarithms to base 10 (undone, samples add up to a million), which are not read as such",
            file=file,
            remedy="multiply the values by 3.3219 (log2 of 10), or use the TPM themselves",
        )
