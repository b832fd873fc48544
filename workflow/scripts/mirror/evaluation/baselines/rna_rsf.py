"""Random survival forest on the fold's standardised genes."""

from __future__ import annotations

import numpy as np
from sksurv.ensemble import RandomSurvivalForest
from sksurv.util import Surv

from ..survival import TooFewEvents, time_grid
from ._data import FoldData
from ._registry import baseline


@baseline("rna_rsf", tasks=("survival",), modality="rna", description="random survival forest on genes")
def fit(fold: FoldData):
    """Risk is the forest's expected number of events (sum of the cumulative hazard), as in Ishwaran 2008."""
    x, train, x_test, test = fold.rna()
    time, event = fold.outcome(train)
    if event.sum() < 2:
        raise TooFewEvents(f"{event.sum()} training events: no survival model can be fitted")
    settings = fold.settings.baseline
    forest = RandomSurvivalForest(
        n_estimators=settings.forest_trees,
        min_samples_leaf=min(settings.forest_min_leaf, max(1, len(train) // 5)),
        max_features="sqrt",
        random_state=fold.seed,
        n_jobs=1,
    )
    forest.fit(x, Surv.from_arrays(event == 1, time))
    at = time_grid(time)
    curves = forest.predict_survival_function(x_test, return_array=True)
    place = np.searchsorted(forest.unique_times_, at, side="right")
    survival = np.c_[np.ones(len(x_test)), curves][:, place]
    return [("forest", fold.risk_rows(test, forest.predict(x_test), np.median(forest.predict(x)), at, survival))]
