"""Gene identifiers: Ensembl versions, symbols, dates that spreadsheets made, duplicates."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import InputError
from ...core.names import without_unseen
from ...core.printable import printable
from ...core.spreadsheet import escape_formula

_ENSEMBL = re.compile(r"^(ENS[A-Z]{0,4}[GTP]\d{11})(?:\.\d+)?(_PAR_Y)?$", re.IGNORECASE)
_MONTHS = {
    1: "jan|january|januar|janv|janvier|ene|enero|gen|gennaio", 2: "feb|february|februar|fev|fevr|fév|févr|février",
    3: "mar|march|mrz|mär|märz|mars|marzo|maart", 4: "apr|april|avr|avril|abr|abril", 5: "may|mai|mei|mayo|maggio|mag",
    6: "jun|june|juni|juin|giu|giugno", 7: "jul|july|juli|juil|juillet|lug|luglio",
    8: "aug|august|août|aout|ago|agosto", 9: "sep|sept|september|septembre|set|sett|septiembre",
    10: "oct|october|okt|oktober|octobre|ott|ottobre|octubre", 11: "nov|november|novembre|noviembre",
    12: "dec|december|dez|dezember|déc|décembre|dic|diciembre",
}  # fmt: skip
"""Months as spreadsheets of English, German, French, Spanish, Italian and Dutch systems write them."""
_MONTH_OF = {name: month for month, names in _MONTHS.items() for name in names.split("|")}
_WORD = "|".join(sorted(_MONTH_OF, key=len, reverse=True))
_TIME = r"(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?Z?)?"
_DATES = tuple(
    re.compile(f"^{pattern}$", re.IGNORECASE)
    for pattern in (
        rf"(?P<day>\d{{1,2}})[-/ .]{{1,2}}(?P<word>{_WORD})\.?(?:[-/ ]+\d{{2,4}})?{_TIME}",
        rf"(?P<word>{_WORD})\.?[-/ ](?P<day>\d{{1,2}})(?:,?[-/ ]\d{{2,4}})?{_TIME}",
        rf"(?P<word>{_WORD})\.?[-/ ](?P<year>\d{{4}})",
        rf"(?P<year>\d{{4}})[-/](?P<month>\d{{1,2}})[-/](?P<day>\d{{1,2}}){_TIME}",
        rf"(?P<a>\d{{1,2}})[-/.](?P<b>\d{{1,2}})[-/.](?P<year>\d{{2}}|\d{{4}}){_TIME}",
        r"(?P<month>\d{1,2})月(?P<day>\d{1,2})日",
    )
)
_SERIAL = re.compile(r"^(\d{5})(?:\.0+)?$")
_FLOAT = re.compile(r"^[+-]?\d+(?:\.\d*)?[eE][+-]?\d+$|^[+-]?\d*\.\d+$")
_WHOLE = re.compile(r"^\d+(?:\.0+)?$")
_FIRST_DAY, _SERIALS = dt.date(1899, 12, 30), (20_000, 60_000)  # 1954 to 2064 as serial numbers
_RISKY = set("=+-@\t\r\n '\"")
_ENSG = re.compile(r"^ENSG(\d{11})", re.IGNORECASE)
_SORTED_SYMBOLS, _SORTED_ENSEMBL, _LAST_ENSEMBL = 100, 500, 240_000
_DATE_PRONE = re.compile(r"^(MARCH|MARC|SEPT|DEC|OCT|FEB|APR|NOV)-?(\d{1,2})$", re.IGNORECASE)
_ORIGIN = {2: "FEB{n}", 3: "MARCHF{n} or MTARC{n}", 4: "APR{n}", 9: "SEPTIN{n}", 10: "POU{n}F1 (OCT{n})",
           11: "NOV{n}", 12: "DELEC{n}"}  # fmt: skip


def parse_ensembl(text: str) -> str | None:
    """Return an Ensembl gene, transcript or protein id without its version, or None for other names.

    The copies on the Y chromosome's pseudo-autosomal region keep their ``_PAR_Y``: they are other genes than
    those of the same number on X.
    """
    match = _ENSEMBL.match(text.strip())
    return None if match is None else match.group(1).upper() + (match.group(2) or "").upper()


def plain_name(name: str) -> str:
    """Return a gene's name without control characters, and so that no spreadsheet runs it as a formula.

    Expression and gene lists write it the same way, so that they still meet.
    """
    return escape_formula(printable(name)) if name[:1] in _RISKY or not name.isprintable() else name


def is_date(text: str) -> bool:
    """Whether a spreadsheet made this out of a gene symbol (``1-Mar``, ``Sep-02``, ``2019-03-01 00:00:00``)."""
    return any(pattern.match(text.strip()) for pattern in _DATES)


def is_number_like(text: str) -> bool:
    """Whether this is a number: ``44256``, ``44621.0``, ``2.31E+13``; no gene symbol or Ensembl id is one."""
    text = text.strip()
    return bool(_WHOLE.match(text) or _FLOAT.match(text))


def date_origin(text: str) -> str:
    """Say which symbols a date or number may have been, such as ``1-Mar`` -> ``MARCHF1 or MTARC1``."""
    text = text.strip()
    serial = _SERIAL.match(text)
    if serial and _SERIALS[0] <= int(serial.group(1)) <= _SERIALS[1]:
        day = _FIRST_DAY + dt.timedelta(days=int(serial.group(1)))
        return _name_of(day.month, day.day)
    if _FLOAT.match(text) and "e" in text.lower():
        return "an identifier with an E among digits, such as RIKEN's 2310009E13"
    match = next((found for pattern in _DATES if (found := pattern.match(text))), None)
    if match is None:
        return "unknown"
    parts = match.groupdict()
    if "a" in parts:  # day and month, in the order of the country
        first, second = int(parts["a"]), int(parts["b"])
        return _name_of(second, first) if second in _ORIGIN else _name_of(first, second)
    month = _MONTH_OF[parts["word"].lower()] if parts.get("word") else int(parts["month"])
    number = parts.get("day") or parts.get("year") or "0"
    if parts.get("year") and parts.get("day") == "01" and len(parts["year"]) == 4:
        number = "1"  # the first of a month: MARCH1 as a date of some year, or MAR-2001 for MARCH1 of 2001
    return _name_of(month, int(number) % 100)


def _name_of(month: int, number: int) -> str:
    return _ORIGIN.get(month, "unknown").format(n=number)


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
    raw = [without_unseen(name).strip().strip('"') for name in genes["id"].astype(str)]
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
    ids, symbols = [plain_name(name) for name in ids], [plain_name(name) for name in symbols]
    out["read_as"], out["id"], out["ensembl"], out["symbol"] = raw, ids, ensembl, symbols
    if any(entrez):
        out["entrez"] = entrez
    out = out.reset_index(drop=True)
    dates = sorted({name for name in ids if is_date(name)})
    numbers = _numbers_among(ids)
    spoilt = {*dates, *numbers}
    # Two genes that became one date are two genes still: neither is kept under it.
    seen = Counter(name for name in ids if name in spoilt)
    twice = sorted(name for name, count in seen.items() if count > 1)
    if twice:
        out.loc[out["id"].isin(twice), "id"] = ""
    prone = sorted({name for name in ids if _DATE_PRONE.match(name)})
    report = {
        "genes_in_file": len(ids),
        "ensembl": int(sum(bool(name) for name in ensembl)),
        "ensembl_versions_stripped": int(versions),
        "par_y_kept_apart": sum(name.endswith("_PAR_Y") for name in ids),
        "names_made_into_dates": {name: date_origin(name) for name in dates[:50]},
        "n_names_made_into_dates": len(dates),
        "names_made_into_numbers": {name: date_origin(name) for name in numbers[:50]},
        "n_names_made_into_numbers": len(numbers),
        "repeated_dates_left_out": {name: seen[name] for name in twice[:50]},
        "rows_of_repeated_dates": sum(seen[name] for name in twice),
        "old_names_spreadsheets_turn_into_dates": prone[:50],
        "unnamed": sum(not name for name in ids),
    }
    return out, report


def _numbers_among(names: list[str]) -> list[str]:
    """Names that are numbers among names that are not; a table of Entrez ids is all numbers and has none."""
    numbers = [name for name in names if is_number_like(name)]
    if len(numbers) > 0.5 * len(names):
        whole = sum(bool(_WHOLE.match(name)) for name in numbers)
        numbers = [name for name in numbers if not _WHOLE.match(name)] if whole > 0.5 * len(names) else []
    return sorted(set(numbers))


def cut_after(names: Sequence[str]) -> str:
    """Return the last name of a list in alphabetical order that breaks off before its end; else an empty text.

    Symbols that run from A to Z end with ZNF and ZZ genes, and Ensembl's numbers go beyond 240,000. A sorted list
    in which the last part of the alphabet is missing was probably cut.

    Parameters
    ----------
    names : sequence of str
        Genes in the order of the file.
    """
    ensembl = [int(match.group(1)) for name in names if (match := _ENSG.match(name))]
    if len(ensembl) >= max(_SORTED_ENSEMBL, 0.9 * len(names)):
        real = 3 * len(ensembl) < max(ensembl) < _LAST_ENSEMBL  # numbers without gaps are invented
        return str(names[-1]) if real and _rising(ensembl) else ""
    words = [name for name in names if name[:1].isalpha() and not name.upper().startswith("ENS")]
    if len(words) < max(_SORTED_SYMBOLS, 0.9 * len(names)):
        return ""
    if not (_rising(words) or _rising([word.upper() for word in words])):
        return ""
    initials = {word[0].upper() for word in words}
    if "A" not in initials and "B" not in initials:
        return ""
    last = max(initials)
    return str(words[-1]) if last < "T" or (last < "Z" and len(words) >= _SORTED_ENSEMBL) else ""


def _rising(items: Sequence[Any]) -> bool:
    """Whether (nearly) all neighbours are in order."""
    return sum(a <= b for a, b in itertools.pairwise(items)) >= 0.98 * (len(items) - 1)


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
