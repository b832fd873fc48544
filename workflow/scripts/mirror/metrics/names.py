"""What is known about metrics by name."""

from __future__ import annotations

LOWER_IS_BETTER = {"brier", "ece", "ibs", "logrank_p", "median_rank", "mae"}
BOUNDS = {
    **dict.fromkeys(("kappa", "kappa_quadratic", "pearson", "spearman"), (-1.0, 1.0)),
    "median_rank": (1.0, float("inf")),
    "brier": (0.0, float("inf")),
    "mae": (0.0, float("inf")),
    "r2": (float("-inf"), 1.0),
}
"""Where a metric's values end, other than at 0 and 1."""
PRIMARY = {"subtyping": "auroc", "survival": "c_index", "retrieval": "recall_at_10", "truth": "r2_shared"}
"""The one metric that decides, where no kind of target says it (`mirror.plan.kinds`) or a short form does."""
TRAINING_PATIENTS = "training_patients"
"""Mean size of a training set, for each point of a learning curve."""
WITHOUT_INTERVAL = {"ece", "training_events", "majority_share", TRAINING_PATIENTS}
"""Facts of a row, and the calibration error, whose percentile interval does not cover."""
UNRANKED = WITHOUT_INTERVAL | {"logrank_p"}
"""Never compared between methods."""
CUT_OR_SCALED = {"accuracy", "balanced_accuracy", "macro_f1", "kappa", "kappa_quadratic", "brier"}
"""Metrics that move with the scale of the probabilities, so with the penalty, which a refit does not choose anew."""
BOOTSTRAP_BIASED = {"auprc"}
"""Metrics that rise when patients are drawn twice: their resamples are centred at the value."""
PATIENTS_ONLY = {"ibs"}
"""Metrics of survival curves, which are not refitted."""
