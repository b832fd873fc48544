"""Gene identifiers: Ensembl versions, symbols, dates that spreadsheets made, duplicates."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import InputError

_ENSEMBL = re.compile(r"^(ENS[A-Z]{0,4}[GTP]\d{11})(?:\.\d+)?(_PAR_Y)?$", re.IGNORECASE)
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec"
_DATE = re.compile(
    rf"^(?:\d{{1,2}}[-/ ](?:{_MONTHS})(?:[-/ ]\d{{2,4}})?|(?:{_MONTHS})[-/ ]\d{{1,4}}|\d{{4}}[-/]\d{{1,2}}[-/]\d{{1,2}}"
    r"(?:[ T].*)?|\d{1,2}[-/]\d{1,2}[-/]\d{2,4})$",
    re.IGNORECASE,
)
_DATE_PRONE = re.compile(r"^(MARCH|MARC|SEPT|DEC|OCT|FEB|APR|NOV)-?(\d{1,2})$", re.IGNORECASE)
_ORIGIN = {"mar": "MARCHF{n} or MTARC{n}", "sep": "SEPTIN{n}", "dec": "DELEC{n}", "oct": "POU{n}F1 (OCT{n})"}


def parse_ensembl(text: str) -> str | None:
    """Return an Ensembl gene, transcript or protein id without its version, or None for other names.

    The copies on the Y chromosome's pseudo-autosomal region keep their ``_PAR_Y``: they are other genes than
    those of the same number on X.
    """
    match = _ENSEMBL.match(text.strip())
    return None if match is None else match.group(1).upper() + (match.group(2) or "").upper()


def is_date(text: str) -> bool:
    """Whether a spreadsheet made this out of a gene symbol (``1-Mar``, ``Sep-02``, ``2019-03-01``)."""
    return bool(_DATE.match(text.strip()))


def date_origin(text: str) -> str:
    """Say which symbols a date may have been, such as ``1-Mar`` -> ``MARCHF1 or MTARC1``."""
    low = text.lower()
    number = re.search(r"\d+", low)
    for month, name in _ORIGIN.items():
        if month in low and number:
            return name.format(n=int(number.group()))
    return "unknown"


def canonical_genes(genes: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Clean identifiers and say what was found.

    Parameters
    ----------
    genes : pandas.DataFrame
        Column ``id`` as the file writes it; ``symbol`` and others where known.

    Returns
    -------
    genes : pandas.DataFrame
        The same rows: ``id`` is the Ensembl id without version, or the symbol as written (dots and hyphens kept);
        ``ensembl`` and ``symbol`` are filled where known, else ``""``; ``read_as`` is what the file wrote.
    report : dict
        Counts, and the flagged names. Names made into dates are flagged, never guessed back.
    """
    raw = genes["id"].astype(str).str.strip().str.strip('"').tolist()
    symbols = genes["symbol"].fillna("").astype(str).tolist() if "symbol" in genes else [""] * len(raw)
    entrez = genes["entrez"].fillna("").astype(str).tolist() if "entrez" in genes else [""] * len(raw)
    ids, ensembl = [], []
    versions = 0
    for row, name in enumerate(raw):
        found = parse_ensembl(name)
        if found is None and "|" in name:  # SYMBOL|entrez (TCGA legacy), ENST...|ENSG...|... (GENCODE)
            left, right = name.split("|")[:2]
            found = parse_ensembl(left)
            if found is None:
                if right.isdigit():
                    entrez[row] = entrez[row] or right
                name = left if left not in {"?", ""} else f"entrez:{right}"
        if found:
            versions += found != name.upper()
            ids.append(found)
            ensembl.append(found)
        else:
            if name.lower() in {"", "na", "nan", "null", "?"}:
                name = f"entrez:{entrez[row]}" if entrez[row] else ""
            ids.append(name)
            ensembl.append("")
            symbols[row] = symbols[row] or name
    out = genes.copy()
    out["read_as"], out["id"], out["ensembl"], out["symbol"] = raw, ids, ensembl, symbols
    if any(entrez):
        out["entrez"] = entrez
    out = out.reset_index(drop=True)
    dates = sorted({name for name in ids if is_date(name)})
    prone = sorted({name for name in ids if _DATE_PRONE.match(name)})
    report = {
        "genes_in_file": len(ids),
        "ensembl": int(sum(bool(name) for name in ensembl)),
        "ensembl_versions_stripped": int(versions),
        "par_y_kept_apart": sum(name.endswith("_PAR_Y") for name in ids),
        "names_made_into_dates": {name: date_origin(name) for name in dates[:50]},
        "n_names_made_into_dates": len(dates),
        "old_names_spreadsheets_turn_into_dates": prone[:50],
        "unnamed": sum(not name for name in ids),
    }
    return out, report


def merge_duplicate_genes(
    values: np.ndarray, genes: pd.DataFrame, policy: str, kind: str, file: str
) -> tuple[np.ndarray, pd.DataFrame, dict[str, Any]]:
    """Make gene identifiers unique; rows without any identifier are left out and counted.

    Parameters
    ----------
    values : numpy.ndarray
        float32 (samples, genes); changed in place.
    genes : pandas.DataFrame
        From `canonical_genes`.
    policy : {"auto", "sum", "mean", "first", "error"}
        ``auto`` sums counts, TPM and FPKM (they add up) and averages logarithms and z-scores.
    kind : str
        What the values are.
    file : str
        Named in the error.
    """
    named = (genes["id"] != "").to_numpy()
    unnamed = int((~named).sum())
    if unnamed:
        values, genes = values[:, named], genes[named].reset_index(drop=True)
    repeated = genes["id"].duplicated()
    names = list(dict.fromkeys(genes.loc[repeated, "id"]))
    if policy == "auto":
        policy = "sum" if kind in {"counts", "tpm", "fpkm"} else "mean"
    report = {
        "policy": policy,
        "names_repeated": len(names),
        "rows_merged": int(repeated.sum()),
        "examples": names[:20],
        "rows_without_a_name": unnamed,
    }
    if not names:
        return values, genes, report
    if policy == "error":
        raise InputError(
            f"{len(names)} genes occur more than once ({', '.join(names[:5])})",
            file=file,
            remedy="set `gene_duplicates` to auto, sum, mean or first",
        )
    keep = (~repeated).to_numpy()
    if policy != "first":
        positions = genes.groupby("id", sort=False).indices
        for name in names:
            columns = np.sort(positions[name])
            block = values[:, columns].astype(np.float64)
            values[:, columns[0]] = block.sum(axis=1) if policy == "sum" else block.mean(axis=1)
    return values[:, keep], genes[keep].reset_index(drop=True), report
