"""PORPOISE's ``*_all_clean.csv.zip``: metadata, then z-scored ``*_rnaseq`` columns, one row per slide.

Chen et al., Pan-cancer integrative histology-genomic analysis via multimodal deep learning, Cancer Cell 2022.
"""

from __future__ import annotations

import pandas as pd

from ...config.sources import ExpressionSource
from ...core.errors import InputError
from ..header import read_header
from ..tables import missing_column
from .base import RawMatrix
from .delimited import read_ids, read_rows
from .samples import SampleSelector

SUFFIX = "_rnaseq"


def read(source: ExpressionSource, select: SampleSelector) -> RawMatrix:
    """Read the ``*_rnaseq`` columns; ``*_cnv`` and ``*_mut`` are other modalities and are left out.

    A patient's slides repeat its expression; equal rows are merged later without any policy.

    Raises
    ------
    InputError
        When there are no ``*_rnaseq`` columns or no patient identifiers.
    """
    header = read_header(source.path)
    lower = [column.lower() for column in header.columns]
    genes_at = [position for position, name in enumerate(lower) if name.endswith(SUFFIX)]
    if not genes_at:
        raise InputError("has no column that ends in _rnaseq", file=source.path, remedy="set `format: matrix`")
    if "case_id" not in lower:
        raise missing_column("case_id", header.columns, source.path)
    case = lower.index("case_id")
    ids = [fields[0] for fields in read_ids(source.path, header, [case])]
    chosen = select(ids)
    select.require(len(chosen), source.path)
    values = read_rows(source.path, header, case, genes_at, chosen)
    genes = pd.DataFrame({"id": [header.columns[position][: -len(SUFFIX)] for position in genes_at]})
    other = {kind: sum(name.endswith(kind) for name in lower) for kind in ("_cnv", "_mut")}
    notes = {"columns_left_out": other, "orientation": "samples_by_genes"}
    return RawMatrix(values, [ids[i] for i in chosen], genes, "zscore", notes)
