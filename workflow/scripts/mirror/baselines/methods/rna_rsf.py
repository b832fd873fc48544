"""Random survival forest on the fold's standardised genes."""

from __future__ import annotations

import numpy as np
from sksurv.ensemble import RandomSurvivalForest
from sksurv.util import Surv

from ...heads.survival import TooFewEvents
from ..fold_data import FoldData
from ..registry import baseline

STEPS = 40


@baseline(
    "rna_rsf",
    tasks=("survival",),
    modality="rna",
    description="random survival forest on genes",
    fewshot=False,
)
def fit(fold: FoldData):
    """Risk is the forest's expected number of events (sum of the cumulative hazard), as in Ishwaran 2008.

    Times are coarsened to at most `STEPS` quantiles of the training events, because the cost of
    a split grows with the number of distinct times.
    """
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
    at = np.unique(np.quantile(time[event == 1], np.linspace(0, 1, STEPS + 1), method="higher"))
    # An event falls on the next step; a censored patient on the last step it is known to have survived.
    step = np.where(event == 1, np.searchsorted(at, time) + 1, np.searchsorted(at, time, side="right"))
    forest.fit(x, Surv.from_arrays(event == 1, step))
    curves = forest.predict_survival_function(x_test, return_array=True)
    place = np.searchsorted(forest.unique_times_, np.arange(1, len(at) + 1), side="right")
    survival = np.c_[np.ones(len(x_test)), curves][:, place]
    return [("forest", fold.risk_rows(test, forest.predict(x_test), np.median(forest.predict(x)), at, survival))]
