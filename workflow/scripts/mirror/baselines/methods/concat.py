"""Mean patch features and genes side by side, then a linear model."""

from __future__ import annotations

import numpy as np

from ...heads.scaling import Scaling
from ..fold_data import FoldData
from ..paired import paired
from ..registry import baseline


@baseline(
    "concat",
    tasks=("subtyping", "survival"),
    modality="fused",
    description="mean patch feature and genes side by side, linear model",
)
def fit(fold: FoldData):
    """Modalities are scaled to the same total variance, so that the wider one does not drown it."""
    wsi, rna, train, test = paired(fold)
    widths = [block[0].shape[1] for block in (wsi, rna)]
    weights = np.repeat(np.sqrt(np.mean(widths) / np.array(widths)), widths)
    scaling = Scaling(fold.settings.baseline.clip, weights)
    x, x_test = (np.column_stack([wsi[k], rna[k]]) for k in (0, 1))
    return [fold.linear(x, train, x_test, test, head, scaling) for head in fold.heads()]
