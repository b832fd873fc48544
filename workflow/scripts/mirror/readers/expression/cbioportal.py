"""cBioPortal's ``data_mrna_seq_v2_rsem.txt``: ``Hugo_Symbol``, ``Entrez_Gene_Id``, then samples."""

from __future__ import annotations

from pathlib import Path

from ...config.sources import ExpressionSource
from . import matrix
from .base import RawMatrix
from .samples import SampleSelector, read_sheet


def read(source: ExpressionSource, select: SampleSelector) -> RawMatrix:
    """Read a cBioPortal expression table; genes without a symbol are named ``entrez:{id}``.

    RSEM files hold estimated counts (not whole numbers, scaled by the upper quartile); files whose names speak of
    z-scores, FPKM or TPM are taken at their word unless the numbers forbid it. The study's
    ``data_clinical_sample.txt`` beside the table says whose sample is whose.
    """
    beside = Path(source.path).with_name("data_clinical_sample.txt")
    if not select.sheet and beside.exists():  # whose sample is whose; barcodes say so by themselves
        select.sheet = read_sheet(str(beside))
    raw = matrix.read(source, select, usual="genes_by_samples")
    if raw.named is None and "rsem" in Path(source.path).name.lower():
        raw.named = "counts"
        raw.notes["values"] = "RSEM estimates scaled by the upper quartile"
    return raw
