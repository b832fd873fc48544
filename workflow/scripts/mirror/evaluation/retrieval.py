"""Cross-modal retrieval: does a patient's slide find that patient's RNA, and the other way round?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..io.embeddings import load_fold
from ..io.predictions import Names, empty, stamp
from ..metrics.retrieval import DIRECTIONS, partner_ranks

log = logging.getLogger(__name__)


def evaluate_retrieval(files: Sequence[str | Path], names: Names, seed: int) -> pd.DataFrame:
    """Rank the test patients of every fold among each other.

    Parameters
    ----------
    files : sequence of path-like
        ``{fold}.h5ad`` with ``X_align_wsi`` and ``X_align_rna``; several slides of a patient
        are averaged, patients lacking a modality are left out.
    names : Names
    seed : int
        Written into the rows.

    Returns
    -------
    DataFrame
        One row per patient, fold and direction: rank, and the number of candidates.
    """
    parts = []
    for path in files:
        fold = load_fold(path, ("X_align_wsi", "X_align_rna"))
        if not {"align_wsi", "align_rna"} <= set(fold.modalities):
            continue  # a model without alignment, or trained on one modality
        test = [p for p in fold.patients if fold.sets[p] == "test"]
        _, both = fold.matrix("align_wsi", test)
        rna, both = fold.matrix("align_rna", both)
        wsi, both = fold.matrix("align_wsi", both)
        if len(both) < 2:
            log.warning("%s: %d test patients with both modalities, no retrieval", path, len(both))
            continue
        for direction, query, candidate in zip(DIRECTIONS, (wsi, rna), (rna, wsi), strict=True):
            rows = pd.DataFrame({"patient_id": both, "rank": partner_ranks(query, candidate), "candidates": len(both)})
            place = {"repeat": fold.repeat, "fold": fold.fold, "draw": 0, "seed": seed}
            how = {"task": "retrieval", "protocol": "zeroshot", "modality": direction, "head": "inner_product"}
            parts.append(stamp(rows, names, **how, **place))
    return pd.concat(parts, ignore_index=True) if parts else empty("retrieval")
