"""Settings of tasks, protocols, baselines and statistics."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ..core.protocols import shots
from .base import Settings

Shots = Annotated[int, Field(ge=1)]


class ProbeSettings(Settings):
    """A linear model on frozen embeddings."""

    solver: Literal["lbfgs", "adam"] = Field("lbfgs", description="A solver that converges, or the published recipe.")
    C: list[float] = Field(
        default_factory=lambda: [0.0001, 0.001, 0.01, 0.1, 1.0],
        min_length=1,
        description="Inverse L2 penalties tried on inner folds of the training patients (lbfgs).",
    )
    inner_folds: int = Field(5, ge=2, description="Inner folds of the training patients that choose the penalty.")
    epochs: int = Field(100, ge=1, description="Epochs (adam).")
    lr_subtyping: float = Field(2e-3, gt=0, description="Learning rate (adam).")
    lr_survival: float = Field(3e-3, gt=0, description="Learning rate (adam).")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Label smoothing (adam, subtyping).")
    batch_size: int = Field(16, ge=1, description="Batch size (adam).")


class FewShotSettings(Settings):
    """k training samples per class, drawn without replacement."""

    k: Shots | Annotated[list[Shots], Field(min_length=1)] = Field(
        10,
        description="Training patients per class (survival: a time bin), or a list of such numbers, e.g. "
        "[1, 5, 10, 25], for a learning curve. Draws are nested: the patients of a smaller number are among those of a "
        "larger one.",
    )
    table_k: Shots | None = Field(
        None, description="The number of shots of the few-shot tables, one of `k`; null: the largest."
    )
    draws: int = Field(5, ge=1, description="Draws, for each number of shots.")
    C: list[float] = Field(
        default_factory=lambda: [0.01],
        min_length=1,
        description="Inverse L2 penalties of few-shot heads. One is no choice: some twenty patients cannot choose.",
    )

    @model_validator(mode="after")
    def _table_is_one_of_them(self) -> Self:
        if self.table_k is not None and self.table_k not in shots(self.k):
            raise ValueError(f"table_k is {self.table_k}, which is not among k ({', '.join(map(str, shots(self.k)))})")
        return self


class SurvivalSettings(Settings):
    """Survival analysis."""

    bins: int = Field(4, ge=2, description="Time bins, at quantiles of the training patients' event times.")
    models: list[Literal["discrete", "cox"]] = Field(
        default_factory=lambda: ["discrete", "cox"],  # type: ignore[arg-type]
        description="Survival heads on frozen embeddings.",
    )
    cox_C: list[float] | None = Field(
        None, min_length=1, description="Inverse L2 penalties of Cox; null: `probe.C`, and 3e-5 and 3e-4 in a grid."
    )
    horizons_days: list[float] = Field(
        default_factory=lambda: [365.25, 1095.75, 1826.25], description="Horizons of the time-dependent AUC, days."
    )
    min_events: int = Field(10, ge=2, description="A fold with fewer training events falls back as documented.")


class FineTuneSettings(Settings):
    """Training the whole pre-trained model on the task."""

    epochs: int = Field(20, ge=1, description="Epochs; fixed, never chosen on the test fold.")
    lr: float = Field(2e-5, gt=0, description="Adam's learning rate for the encoders.")
    lr_head: float = Field(2e-3, gt=0, description="Adam's learning rate for the head.")
    batch_size: int = Field(8, ge=1, description="Patients per step.")
    tokens: int = Field(2048, ge=4, description="Patches per slide drawn at every visit.")


class BaselineSettings(Settings):
    """Budgets of the baselines that are trained from scratch."""

    mil_epochs: int = Field(20, ge=1, description="Epochs of ABMIL and TransMIL; fixed.")
    mil_lr: float = Field(1e-3, gt=0, description="Adam's learning rate of ABMIL and TransMIL.")
    mil_weight_decay: float = Field(1e-4, ge=0, description="Weight decay of ABMIL and TransMIL.")
    mil_width: int = Field(128, ge=8, description="Hidden width of ABMIL and TransMIL.")
    mil_tokens: int = Field(512, ge=4, description="Patches per slide drawn at every visit, and at most in evaluation.")
    mil_dropout: float = Field(0.25, ge=0, lt=1, description="Dropout of ABMIL and TransMIL.")
    mlp_width: int = Field(128, ge=4, description="Hidden width of the MLP on RNA.")
    mlp_epochs: int = Field(60, ge=1, description="Epochs of the MLP on RNA; fixed.")
    mlp_lr: float = Field(1e-3, gt=0, description="Adam's learning rate of the MLP on RNA.")
    mlp_weight_decay: float = Field(1e-2, ge=0, description="Weight decay of the MLP on RNA.")
    forest_trees: int = Field(300, ge=10, description="Trees of the random survival forest.")
    forest_min_leaf: int = Field(10, ge=1, description="Fewest patients in a leaf of the random survival forest.")
    cox_l1_ratio: list[float] = Field(
        default_factory=lambda: [0.01],
        min_length=1,
        description="Shares of L1 that the elastic-net Cox model averages over; near 0 it is ridge, 1 is the lasso.",
    )
    slide_scaling: Literal["none", "clip", "ranks"] = Field(
        "none",
        description="Standardisation of patch features before a baseline reads them, with statistics of the fold's "
        "training patients, as `model.input_scaling`. For a fair comparison take that of the variants.",
    )
    clip: float = Field(5.0, gt=0, description="Standardised genes are clipped to plus or minus this.")


class StatisticsSettings(Settings):
    """Intervals and tests."""

    bootstrap: int = Field(1000, ge=50, description="Bootstrap resamples over patients.")
    refits: int = Field(
        100, ge=0, description="Resamples of the training patients on which linear heads are refitted; 0 is none."
    )
    level: float = Field(0.95, gt=0.5, lt=1, description="Level of confidence intervals.")


class TransferSettings(Settings):
    """One zero-shot transfer: risk of a cohort's patients by the models and heads of another."""

    source: str = Field(description="Cohort whose models and survival heads are used, fitted on its training patients.")
    target: str = Field(description="Cohort whose patients are ranked; nothing is fitted on them.")
    max_missing_genes: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the source's genes that the target may lack; they take the source's training median.",
    )


class EvaluationSettings(Settings):
    """What is evaluated, and how."""

    tasks: list[Literal["subtyping", "survival"]] = Field(
        default_factory=lambda: ["subtyping", "survival"],  # type: ignore[arg-type]
        description="Targets of the short forms (`clinical.label`, `clinical.time`); `targets` are all evaluated.",
    )
    protocols: list[Literal["linear", "fewshot", "finetune"]] = Field(
        default_factory=lambda: ["linear", "fewshot"],  # type: ignore[arg-type]
        description="How a pre-trained model is put to use.",
    )
    modalities: list[Literal["wsi", "rna", "fused"]] = Field(
        default_factory=lambda: ["wsi", "rna", "fused"],  # type: ignore[arg-type]
        description="Which embeddings are probed.",
    )
    baselines: list[str] = Field(
        default_factory=lambda: ["rna_logistic", "rna_cox", "slide_mean", "abmil", "clinical_cox", "late_fusion"],
        description="Baselines trained in the same folds: files of mirror/baselines/methods (docs/evaluation.md).",
    )
    probe: ProbeSettings = Field(ProbeSettings(), description="The linear probe.")
    fewshot: FewShotSettings = Field(FewShotSettings(), description="Few-shot.")
    survival: SurvivalSettings = Field(SurvivalSettings(), description="Survival.")
    finetune: FineTuneSettings = Field(FineTuneSettings(), description="Fine-tuning of the whole model.")
    baseline: BaselineSettings = Field(BaselineSettings(), description="Budgets of trained baselines.")
    statistics: StatisticsSettings = Field(StatisticsSettings(), description="Intervals and tests.")
    transfer: list[TransferSettings] = Field(
        default_factory=list,
        description="Zero-shot transfers of risk between cohorts, e.g. [{source: BRCA, target: RCC}]; none by default.",
    )
    reported: str | None = Field(
        "config/reported.csv", description="Figures reported elsewhere, shown in a column of their own."
    )
