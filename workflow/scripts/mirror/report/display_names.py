"""What methods, metrics and modalities are called in tables and figures, and in which order they stand."""

from __future__ import annotations

import re
from functools import cache

from ..plan.registry import find_baselines

DAYS_A_YEAR = 365.25
FULL = ("linear", "supervised", "finetune")
"""Protocols that train on all training patients."""

# Methods that are no baselines, after these; baselines name themselves in their files.
OTHER_METHODS = {
    "align": "Alignment only",
    "tangle": "TANGLE-style",
    "mirror": "MIRROR",
    "mirror_plus": "MIRROR+",
    "ceiling": "True factors (ceiling)",
    "input": "The input itself",
}
METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "kappa": "Cohen's kappa",
    "ece": "Calibration error",
    "brier": "Brier score",
    "c_index": "C-index",
    "c_index_uno": "Uno's C",
    "auc_mean": "Mean time-dependent AUC",
    "ibs": "Integrated Brier score",
    "kappa_quadratic": "Quadratic kappa",
    "auroc_neighbours": "AUROC of neighbours",
    "r2": "R²",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "mae": "Mean absolute error",
    "training_events": "Events per draw",
    "training_patients": "Training patients per draw",
    "majority_share": "Largest class",
    "recall_at_1": "Recall@1",
    "recall_at_5": "Recall@5",
    "recall_at_10": "Recall@10",
    "median_rank": "Median rank",
    "r2_shared": "R² shared",
    "r2_slide": "R² slide-only",
    "r2_rna": "R² RNA-only",
}
MODALITIES = {
    "wsi": "slide",
    "rna": "RNA",
    "fused": "slide + RNA",
    "clinical": "clinical",
    "truth": "truth",
    "wsi_to_rna": "slide to RNA",
    "rna_to_wsi": "RNA to slide",
}
# A head is named only where a method has several.
HEADS = {
    "discrete": "discrete-time",
    "cox": "Cox",
    **dict.fromkeys(["logistic", "rsf", "inner_product", "ridge"], ""),
    **{head: title for entry in find_baselines().values() for head, title in entry.heads.items()},
}


@cache
def _methods() -> dict[str, str]:
    """Names of methods, in the order in which tables and figures show them."""
    baselines = sorted(find_baselines().items(), key=lambda item: (item[1].order, item[0]))
    return {name: entry.title for name, entry in baselines} | OTHER_METHODS


def method_name(method: str) -> str:
    """A method's name; a variant of the user's own keeps the name that the user gave it."""
    return _methods().get(method, method.replace("_", " "))


def metric_name(metric: str) -> str:
    """A metric's name."""
    horizon = re.fullmatch(r"auc_(\d+)d", metric)
    if horizon:
        return f"AUC at {int(horizon[1]) / DAYS_A_YEAR:.1f} years"
    return METRICS.get(metric, metric.replace("_", " "))


def method_order(method: str) -> tuple[int, str]:
    """A sort key: baselines first, then alignment, then MIRROR and its variants."""
    known = list(_methods())
    return (known.index(method) if method in known else known.index("tangle"), method)
