"""How much there is to compute: counts by kind, for the doctor's plan. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .plan import Plan


@dataclass(frozen=True)
class Work:
    """What a configuration computes, simulated cohorts included.

    Attributes
    ----------
    jobs : dict of str to int
        Jobs by kind. Tables, figures and the report come on top; each of them is short.
    models : dict of str to int
        Pre-trained models by cohort: encoders x schemes x variants x folds.
    folds : int
        Fewest folds of any scheme; a model is trained on all but one of them.
    """

    jobs: dict[str, int]
    models: dict[str, int]
    folds: int

    def as_dict(self) -> dict[str, Any]:
        """For a rule's parameters."""
        return dict(vars(self))


def count_work(plan: Plan) -> Work:
    """Count the jobs of a configuration by kind."""
    folds = {c: sum(len(plan.folds(scheme)) for scheme in plan.schemes(c)) for c in plan.evaluated}
    real = [c for c in plan.cohorts if not plan.cohort(c)["joint"]]
    trained = [c for c in plan.evaluated if plan.trains(c)]
    models = {c: len(plan.encoders_of(c)) * len(plan.variants) * folds[c] for c in trained}
    jobs = {
        "tiling": sum(plan.n_shards(c) for c in real if plan.has_pixels(c)),
        "patch features": sum(plan.n_shards(c) * len(plan.encoders_of(c)) for c in real if plan.has_slides(c)),
        "gene selection": sum(n for c, n in folds.items() if plan.has_rna(c)),
        "pre-training": sum(models.values()),
        "embedding of patients": sum(models.values()),
        "probes and baselines": sum(len(plan.predictions(c)) for c in plan.evaluated)
        + len(plan.transfers) * len(plan.variants),
    }
    used = {scheme for c in plan.evaluated for scheme in plan.schemes(c)}
    return Work(jobs, models, min(plan.config["splits"][s]["folds"] for s in used))
