"""What is known about metrics by name."""

from __future__ import annotations

LOWER_IS_BETTER = {"brier", "ece", "ibs", "logrank_p", "median_rank"}
