"""Mean of a slide's patch features, then a linear model."""

from __future__ import annotations

from ..fold_data import Patients
from ..method import LinearMethod
from ..registry import baseline


@baseline(
    "slide_mean",
    kinds=("class", "ordinal", "survival", "number"),
    modality="wsi",
    description="mean patch feature, linear model",
    title="Mean pooling",
    order=60,
)
class SlideMean(LinearMethod):
    """The same linear heads as the probe."""

    def features(self, patients: Patients):
        """Pooled patch features."""
        return patients.pooled("mean")
