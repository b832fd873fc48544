"""UCSC Xena matrices: genes or transcripts in rows, samples in columns, mostly log2 of something."""

from __future__ import annotations

from ...config.sources import ExpressionSource
from ..tables import missing_column, read_table
from . import matrix
from .base import RawMatrix
from .genes import parse_ensembl
from .samples import SampleSelector


def read(source: ExpressionSource, select: SampleSelector) -> RawMatrix:
    """Read a Xena matrix (text, gz or parquet) and name its rows by the probe map where one is given.

    The identifiers stay those of the file (a transcript is not merged into its gene); the probe map's symbols go
    to ``genes.symbol``.

    Raises
    ------
    InputError
        As `mirror.readers.expression.matrix.read`, and when the probe map knows none of the identifiers.
    """
    raw = matrix.read(source, select, usual="genes_by_samples")
    # The file's name says TPM or counts, but the hub stores logarithms; the numbers have the last word.
    raw.named = "log2" if raw.named != "zscore" else raw.named
    if source.probe_map:
        symbols = read_probe_map(source.probe_map)
        keys = [parse_ensembl(name) or name for name in raw.genes["id"].astype(str)]
        raw.genes["symbol"] = [symbols.get(key, "") for key in keys]
        known = sum(key in symbols for key in keys)
        raw.notes["probe_map"] = {"path": str(source.probe_map), "known": known, "unknown": len(keys) - known}
        if known == 0:
            raise missing_column(str(raw.genes["id"].iloc[0]), list(symbols)[:2000], source.probe_map, "probe_map")
    return raw


def read_probe_map(path: str) -> dict[str, str]:
    """Return {identifier without version: symbol} from a Xena probe map (columns ``id`` and ``gene``)."""
    table = read_table(path)
    table.columns = [str(column).lstrip("#").lower() for column in table.columns]
    for column in ("id", "gene"):
        if column not in table.columns:
            raise missing_column(column, table.columns, path)
    return {parse_ensembl(name) or name: gene for name, gene in zip(table["id"], table["gene"], strict=True)}
