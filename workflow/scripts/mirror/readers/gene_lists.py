"""Reading gene lists: GMT, one gene per line, COSMIC."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.printable import printable
from ..core.spreadsheet import escape_formula
from .bounded import table_limit
from .expression.genes import plain_name
from .opening import open_text

if TYPE_CHECKING:
    pass


COSMIC_SYMBOL = ("genesymbol",)

COSMIC_TUMOURS = ("tumourtypessomatic",)


def read_gmt(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Gene sets of a GMT file: name, description, then members, separated by tabs.

    Returns
    -------
    dict of str to tuple of str
        In the file's order, members without repeats.

    Raises
    ------
    InputError
        A line with fewer than three fields, a name given twice, no set at all.
    """
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        name = escape_formula(printable(name)) if name else name
        members = tuple(dict.fromkeys(plain_name(member) for member in rest[1:] if member))
        if not name or not members:
            raise InputError("a GMT line needs a name, a description and genes, tab separated", file=path, row=number)
        if name in sets:
            raise InputError(f"the gene set {name} is given twice", file=path, row=number)
        sets[name] = members
    if not sets:
        raise InputError("no gene set in the file", file=path)
    return sets


def read_gene_list(path: str | Path, tumours: Sequence[str] = ()) -> tuple[str, ...]:
    """Genes of a COSMIC cancer gene census, a plain list or a GMT (its union), told apart by content.

    Parameters
    ----------
    path : path-like
        COSMIC's CSV (``Gene Symbol``) or TSV (``GENE_SYMBOL``); one gene per line, ``#`` begins a
        comment; or GMT. Compressed or not.
    tumours : sequence of str
        COSMIC only: keep the genes whose somatic tumour types contain one of these words, in any
        case.

    Returns
    -------
    tuple of str
        In the file's order, without repeats.

    Raises
    ------
    InputError
        The file is missing, is not text, has no gene, or has no tumour types to filter by.
    """
    lines = _lines(path)
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    genes: Iterable[str]
    for delimiter in (",", "\t"):
        header = [_bare(field) for field in next(csv.reader([first], delimiter=delimiter), [])]
        if len(header) > 1 and any(name in header for name in COSMIC_SYMBOL):
            genes = _cosmic(path, lines[lines.index(first) :], header, delimiter, tumours)
            break
    else:
        if tumours:
            raise InputError(
                "gene_list_tumours needs COSMIC's table, whose header has Gene Symbol and Tumour Types(Somatic)",
                file=path,
            )
        if first.count("\t") >= 2:
            genes = [gene for members in read_gmt(path).values() for gene in members]
        else:
            bare = (line.split("#", 1)[0].strip().strip('"') for line in lines)
            genes = [line for line in bare if line and _bare(line) not in (*COSMIC_SYMBOL, "gene", "symbol")]
            wide = next((line for line in genes if any(mark in line for mark in "\t,; <")), None)
            if wide is not None:
                raise InputError("a plain gene list has one gene per line", file=path, row=wide[:60])
    found = tuple(dict.fromkeys(plain_name(gene) for gene in genes))
    if not found:
        raise InputError("no gene in the list", file=path)
    return found


def _cosmic(path: str | Path, lines: list[str], header: list[str], delimiter: str, tumours: Sequence[str]) -> list[str]:
    symbol = next(header.index(name) for name in COSMIC_SYMBOL if name in header)
    types = next((header.index(name) for name in COSMIC_TUMOURS if name in header), None)
    if tumours and types is None:
        raise InputError("COSMIC's table has no column of somatic tumour types to filter by", file=path)
    words = [word.lower() for word in tumours]
    genes = []
    for row in csv.reader(lines[1:], delimiter=delimiter):
        if len(row) <= symbol or not row[symbol].strip():
            continue
        listed = row[types].lower() if types is not None and len(row) > types else ""
        if not words or any(word in listed for word in words):
            genes.append(row[symbol].strip())
    return genes


def _bare(name: str) -> str:
    return "".join(c for c in name.lower().lstrip("\ufeff") if c.isalnum())


def _lines(path: str | Path) -> list[str]:
    with open_text(path, table_limit()) as text:
        return text.read().splitlines()
