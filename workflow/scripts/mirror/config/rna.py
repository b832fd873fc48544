"""Settings of expression: reading, normalising, selecting genes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Settings


class SelectionSettings(Settings):
    """Which genes enter the model; fitted inside each fold on its training patients."""

    method: Literal["rfecv", "published", "hvg", "anova", "elastic_net", "all", "list"] = Field(
        "rfecv",
        description="rfecv: recursive elimination inside the fold; published: the reference's leaking way, marked so.",
    )
    target: str | None = Field(
        None,
        description="Class target whose labels rfecv, anova and elastic_net use; null: the cohort's first. No other "
        "target has a say in the selection.",
    )
    n_genes: int = Field(2000, ge=1, description="Genes kept by hvg and anova; at most so many by elastic_net.")
    step: float = Field(0.05, gt=0, lt=1, description="Share of the original genes dropped per round (rfecv).")
    inner_folds: int = Field(5, ge=2, description="Folds inside the training patients (rfecv).")
    C: float = Field(1.0, gt=0, description="Inverse regularisation of the linear SVM (rfecv) and of elastic_net.")
    min_genes: int = Field(
        100,
        ge=1,
        description="Fewest genes rfecv may choose. scikit-learn's default is 1, and where one gene or the majority "
        "class is as accurate as any model, 1 is what it takes; an encoder of expression needs more.",
    )
    l1_ratio: float = Field(0.5, gt=0, le=1, description="Share of the l1 penalty (elastic_net).")
    gene_list: str | None = Field(
        None, description="Genes always kept (COSMIC CSV, plain list or GMT); for method list, the whole selection."
    )
    gene_list_tumours: list[str] = Field(
        default_factory=list,
        description="COSMIC only: keep the genes whose somatic tumour types name one of these words; empty keeps all.",
    )


class RnaSettings(Settings):
    """From what was read to each fold's standardised genes."""

    normalize: Literal["auto", "log1p_cpm", "log1p", "none"] = Field(
        "auto", description="auto: counts to library size and log1p, TPM and FPKM to log1p, logs and z-scores as read."
    )
    target_sum: float = Field(1e6, gt=0, description="Library size that counts are scaled to.")
    min_sample_fraction: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Genes expressed in a smaller share of the fold's training patients are dropped "
        "(counts, TPM, FPKM).",
    )
    batch: Literal["none", "quantile", "rank", "combat"] = Field(
        "none", description="Extra normalisation; whatever is fitted is fitted on the fold's training patients."
    )
    batch_key: str = Field("cohort", description="Column of the expression's obs that names the batch (combat).")
    standardize: bool = Field(True, description="Zero mean and unit variance per gene, fitted on training patients.")
    clip: float | None = Field(
        5.0, gt=0, description="Standardised values (and z-scores as read) are clipped to +-clip."
    )
    selection: SelectionSettings = Field(SelectionSettings(), description="Gene selection.")
    pathways: str | None = Field(None, description="GMT file whose pathway scores are added as features.")
