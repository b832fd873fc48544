"""Maximum of a slide's patch features, then a linear model."""

from __future__ import annotations

from ..fold_data import Patients
from ..method import LinearMethod
from ..registry import baseline


@baseline(
    "slide_max",
    kinds=("class", "ordinal", "survival", "number"),
    modality="wsi",
    description="maximum patch feature, linear model",
    title="Max pooling",
    order=70,
)
class SlideMax(LinearMethod):
    """The same linear heads as the probe."""

    def features(self, patients: Patients):
        """Pooled patch features."""
        return patients.pooled("max")
