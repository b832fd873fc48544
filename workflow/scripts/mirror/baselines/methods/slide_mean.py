"""Mean of a slide's patch features, then a linear model."""

from __future__ import annotations

from ..fold_data import FoldData
from ..registry import baseline


@baseline("slide_mean", tasks=("subtyping", "survival"), modality="wsi", description="mean patch feature, linear model")
def fit(fold: FoldData):
    """The same linear heads as the probe."""
    features = fold.pooled("mean")
    return [fold.linear(*features, head) for head in fold.heads()]
