"""Maximum of a slide's patch features, then a linear model."""

from __future__ import annotations

from ..fold_data import FoldData
from ..registry import baseline


@baseline(
    "slide_max", tasks=("subtyping", "survival"), modality="wsi", description="maximum patch feature, linear model"
)
def fit(fold: FoldData):
    """The same linear heads as the probe."""
    features = fold.pooled("max")
    return [fold.linear(*features, head) for head in fold.heads()]
