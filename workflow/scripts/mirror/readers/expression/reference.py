"""The reference implementation's pruned CSV: chosen genes or transcripts, indexed by TCGA barcodes."""

from __future__ import annotations

from ...config.sources import ExpressionSource
from ...core.barcodes import parse
from ...core.errors import InputError
from ..header import read_header
from ..opening import container
from . import matrix
from .base import RawMatrix
from .samples import SampleSelector


def read(source: ExpressionSource, select: SampleSelector) -> RawMatrix:
    """Read a matrix one of whose sides is patient or sample barcodes; see `mirror.readers.expression.matrix.read`.

    Raises
    ------
    InputError
        When neither side has TCGA barcodes.
    """
    if container(source.path) != "parquet":
        header = read_header(source.path)
        down = any(parse(field) for fields in header.first for field in fields[:3])
        if not down and not any(parse(name) for name in header.columns):
            raise InputError(
                "has no TCGA barcode along the header or in the first columns",
                file=source.path,
                remedy="`format: matrix`",
            )
    return matrix.read(source, select)
