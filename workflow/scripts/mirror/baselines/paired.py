"""Patients with both modalities."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .fold_data import FoldData, Unusable

Matrices = tuple[np.ndarray, np.ndarray]


def paired(fold: FoldData) -> tuple[Matrices, Matrices, pd.DataFrame, pd.DataFrame]:
    """Mean patch features (train, test), genes (train, test), and the patients that have both."""
    w, w_train, w_test, w_test_patients = fold.pooled("mean")
    r, r_train, r_test, r_test_patients = fold.rna()
    tables, wsi, rna = [], [], []
    for a, slides, b, genes in ((w, w_train, r, r_train), (w_test, w_test_patients, r_test, r_test_patients)):
        both = [p for p in slides.index if p in genes.index]
        if not both:
            raise Unusable("no patients with both slides and RNA")
        wsi.append(a[slides.index.get_indexer(both)])
        rna.append(b[genes.index.get_indexer(both)])
        tables.append(slides.loc[both])
    return (wsi[0], wsi[1]), (rna[0], rna[1]), tables[0], tables[1]
