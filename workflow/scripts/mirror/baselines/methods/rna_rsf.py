"""Random survival forest on the fold's standardised genes."""

from __future__ import annotations

import numpy as np
from sksurv.ensemble import RandomSurvivalForest
from sksurv.util import Surv

from ...heads.survival import SurvivalPrediction, require_events
from ...targets.survival import outcome_of
from ..fold_data import FoldData, Patients
from ..method import Method, Predicted
from ..registry import baseline

STEPS = 40


@baseline(
    "rna_rsf",
    kinds=("survival",),
    modality="rna",
    description="random survival forest on genes",
    title="RNA random survival forest",
    order=40,
    heads={"forest": ""},
    fewshot=False,
)
class RnaForest(Method):
    """Risk is the forest's expected number of events (sum of the cumulative hazard), as in Ishwaran 2008.

    Times are coarsened to at most `STEPS` quantiles of the training events, because the cost of
    a split grows with the number of distinct times.
    """

    def fit(self, fold: FoldData) -> RnaForest:
        """See `Method.fit`."""
        x, table = fold.training.rna()
        y = outcome_of(table)
        time, event = y["time"], y["event"]
        require_events(event)
        settings = fold.settings.baseline
        self.forest = RandomSurvivalForest(
            n_estimators=settings.forest_trees,
            min_samples_leaf=min(settings.forest_min_leaf, max(1, len(table) // 5)),
            max_features="sqrt",
            random_state=fold.seed,
            n_jobs=1,
        )
        self.times = np.unique(np.quantile(time[event], np.linspace(0, 1, STEPS + 1), method="higher"))
        # An event falls on the next step; a censored patient on the last step it is known to have survived.
        after = np.searchsorted(self.times, time, side="right")
        self.forest.fit(x, Surv.from_arrays(event, np.where(event, np.searchsorted(self.times, time) + 1, after)))
        self.threshold = float(np.median(self.forest.predict(x)))
        return self

    def predict(self, patients: Patients) -> list[Predicted]:
        """See `Method.predict`."""
        x, table = patients.rna()
        curves = self.forest.predict_survival_function(x, return_array=True)
        steps = np.arange(1, len(self.times) + 1)
        place = np.searchsorted(self.forest.unique_times_, steps, side="right")
        survival = np.c_[np.ones(len(x)), curves][:, place]
        found = SurvivalPrediction(self.forest.predict(x), self.threshold, self.times, survival)
        return [Predicted("forest", list(table.index), found)]
