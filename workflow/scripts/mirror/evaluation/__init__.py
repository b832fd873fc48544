"""Tasks, protocols, baselines, metrics and statistics (docs/evaluation.md)."""
