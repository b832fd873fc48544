"""Recognising the format of an expression file."""

from __future__ import annotations

from pathlib import Path

from ...core.barcodes import parse
from ...core.errors import InputError
from ..header import read_header
from ..opening import container

XENA_CORNERS = {"sample", "ensembl_id", "xena_sample", "probe", "transcript_id", "gene"}


def detect_format(path: str | Path) -> str:
    """Recognise the format by content.

    Returns
    -------
    str
        ``gdc_star``, ``xena``, ``cbioportal``, ``matrix``, ``porpoise`` or ``h5ad``; the reference
        implementation's pruned CSV is a ``matrix``.

    Raises
    ------
    InputError
        When the file is absent or no expression table.
    """
    path = Path(path)
    if path.is_dir():
        if next(path.rglob("*star_gene_counts.tsv*"), None) is not None:
            return "gdc_star"
        raise InputError(
            "the folder holds no *.augmented_star_gene_counts.tsv", file=path, remedy="give the matrix's path instead"
        )
    kind = container(path)
    if kind == "hdf5":
        return "h5ad"
    if kind == "parquet":
        return "matrix"
    header = read_header(path)
    lower = [column.lower() for column in header.columns]
    if {"gene_id", "gene_name", "unstranded"} <= set(lower):
        return "gdc_star"
    if any(name.endswith("_rnaseq") for name in lower):
        return "porpoise"
    if "hugo_symbol" in lower[:2] or "entrez_gene_id" in lower[:2]:
        return "cbioportal"
    if lower[0].lstrip("#") in XENA_CORNERS and any(parse(name) for name in header.columns[1:200]):
        return "xena"
    return "matrix"
