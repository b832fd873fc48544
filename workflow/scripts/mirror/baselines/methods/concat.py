"""Mean patch features and genes side by side, then a linear model."""

from __future__ import annotations

import numpy as np

from ...heads.scaling import Scaling
from ..fold_data import FoldData, Patients
from ..method import LinearMethod
from ..registry import baseline


@baseline(
    "concat",
    kinds=("class", "ordinal", "survival", "number"),
    modality="fused",
    description="mean patch feature and genes side by side, linear model",
    title="Concatenation",
    order=110,
)
class Concat(LinearMethod):
    """Modalities are scaled to the same total variance, so that the wider one does not dominate."""

    def features(self, patients: Patients):
        """Mean patch features, then genes."""
        wsi, rna, table = patients.paired()
        self.widths = [wsi.shape[1], rna.shape[1]]
        return np.column_stack([wsi, rna]), table

    def scaling(self, fold: FoldData):
        """Clipped, and each modality weighted by its width."""
        widths = np.array(self.widths)
        return Scaling(fold.settings.baseline.clip, np.repeat(np.sqrt(np.mean(widths) / widths), widths))
