"""Settings of tasks, protocols, baselines and statistics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Settings

Baseline = Literal[
    "rna_logistic",
    "rna_cox",
    "rna_rsf",
    "rna_mlp",
    "slide_mean",
    "slide_max",
    "abmil",
    "transmil",
    "clinical_cox",
    "late_fusion",
    "concat",
]


class ProbeSettings(Settings):
    """A linear model on frozen embeddings."""

    solver: Literal["lbfgs", "adam"] = Field("lbfgs", description="A solver that converges, or the published recipe.")
    C: list[float] = Field(
        default_factory=lambda: [0.001, 0.01, 0.1, 1.0],
        description="Inverse L2 penalties tried on an inner split of the training patients (lbfgs).",
    )
    epochs: int = Field(100, ge=1, description="Epochs (adam).")
    lr_subtyping: float = Field(2e-3, gt=0, description="Learning rate (adam).")
    lr_survival: float = Field(3e-3, gt=0, description="Learning rate (adam).")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Label smoothing (adam, subtyping).")
    batch_size: int = Field(16, ge=1, description="Batch size (adam).")


class FewShotSettings(Settings):
    """k training samples a class, drawn without replacement."""

    k: int = Field(10, ge=1, description="Training patients a class (survival: a time bin).")
    draws: int = Field(5, ge=1, description="Draws.")


class SurvivalSettings(Settings):
    """Survival analysis."""

    bins: int = Field(4, ge=2, description="Time bins, at quantiles of the training patients' event times.")
    models: list[Literal["discrete", "cox"]] = Field(
        default_factory=lambda: ["discrete", "cox"], description="Survival heads on frozen embeddings."
    )
    horizons_days: list[float] = Field(
        default_factory=lambda: [365.25, 1095.75, 1826.25], description="Horizons of the time-dependent AUC, days."
    )
    min_events: int = Field(10, ge=2, description="A fold with fewer training events falls back as documented.")


class StatisticsSettings(Settings):
    """Intervals and tests."""

    bootstrap: int = Field(1000, ge=50, description="Bootstrap resamples over patients.")
    level: float = Field(0.95, gt=0.5, lt=1, description="Level of confidence intervals.")


class EvaluationSettings(Settings):
    """What is evaluated, and how."""

    tasks: list[Literal["subtyping", "survival"]] = Field(
        default_factory=lambda: ["subtyping", "survival"], description="Downstream tasks."
    )
    protocols: list[Literal["linear", "fewshot", "finetune"]] = Field(
        default_factory=lambda: ["linear", "fewshot"], description="How a pre-trained model is put to use."
    )
    modalities: list[Literal["wsi", "rna", "fused"]] = Field(
        default_factory=lambda: ["wsi", "rna", "fused"], description="Which embeddings are probed."
    )
    baselines: list[Baseline] = Field(
        default_factory=lambda: ["rna_logistic", "rna_cox", "slide_mean", "abmil", "clinical_cox", "late_fusion"],
        description="Baselines trained in the same folds.",
    )
    probe: ProbeSettings = Field(ProbeSettings(), description="The linear probe.")
    fewshot: FewShotSettings = Field(FewShotSettings(), description="Few-shot.")
    survival: SurvivalSettings = Field(SurvivalSettings(), description="Survival.")
    statistics: StatisticsSettings = Field(StatisticsSettings(), description="Intervals and tests.")
    reported: str | None = Field(
        "config/reported.csv", description="Figures reported elsewhere, shown in a column of their own."
    )
