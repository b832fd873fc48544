"""What is known about metrics by name."""

from __future__ import annotations

LOWER_IS_BETTER = {"brier", "ece", "ibs", "logrank_p", "median_rank"}
BOUNDS = {"kappa": (-1.0, 1.0), "median_rank": (1.0, float("inf")), "brier": (0.0, float("inf"))}
"""Where a metric's values end, other than at 0 and 1."""
PRIMARY = {"subtyping": "auroc", "survival": "c_index", "retrieval": "recall_at_10", "truth": "r2_shared"}
"""The one metric of a target that decides; declared before any value is seen."""
WITHOUT_INTERVAL = {"ece", "training_events", "majority_share"}
"""Facts of a row, and the calibration error, whose percentile interval does not cover."""
UNRANKED = WITHOUT_INTERVAL | {"logrank_p"}
"""Never compared between methods."""
PATIENTS_ONLY = {"ibs"}
"""Metrics of survival curves, which are not refitted."""
