"""Settings of expression: reading, normalising, selecting genes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Settings


class ExpressionSource(Settings):
    """Where a cohort's expression comes from. What the file holds is detected and stated."""

    path: str = Field(description="File, or folder of GDC STAR-count files.")
    format: Literal["auto", "gdc_star", "xena", "cbioportal", "matrix", "reference", "porpoise", "h5ad"] = Field(
        "auto", description="File format; auto recognises it."
    )
    values: Literal["auto", "counts", "tpm", "fpkm", "log2", "log1p", "zscore"] = Field(
        "auto", description="What the numbers are; auto detects it, a contradiction is an error."
    )
    orientation: Literal["auto", "genes_by_samples", "samples_by_genes"] = Field(
        "auto", description="Which way round a plain matrix is."
    )
    sample_sheet: str | None = Field(None, description="GDC sample sheet, for format gdc_star.")
    probe_map: str | None = Field(None, description="Xena probe map: identifiers to gene symbols.")
    column: str = Field("unstranded", description="Column of GDC STAR-count files (unstranded, tpm_unstranded ...).")
    duplicates: Literal["first", "mean", "highest_total", "error"] = Field(
        "first", description="Several samples of a patient with different values: which counts."
    )
    missing: Literal["error", "drop_gene", "median"] = Field(
        "drop_gene", description="Missing values: refuse, drop the gene, or the training patients' median."
    )


class SelectionSettings(Settings):
    """Which genes enter the model; fitted inside each fold on its training patients."""

    method: Literal["rfecv", "published", "hvg", "anova", "elastic_net", "all", "list"] = Field(
        "rfecv",
        description="rfecv: recursive elimination inside the fold; published: the reference's leaking way, marked so.",
    )
    n_genes: int = Field(2000, ge=1, description="Genes kept by hvg, anova and elastic_net.")
    step: float = Field(0.05, gt=0, lt=1, description="Share of the original genes dropped a round (rfecv).")
    inner_folds: int = Field(5, ge=2, description="Folds inside the training patients (rfecv).")
    C: float = Field(1.0, gt=0, description="Inverse regularisation of the linear SVM (rfecv).")
    min_genes: int = Field(1, ge=1, description="Fewest genes rfecv may choose.")
    gene_list: str | None = Field(
        None, description="Genes always kept (COSMIC CSV, plain list or GMT); for method list, the whole selection."
    )


class RnaSettings(Settings):
    """From what was read to each fold's standardised genes."""

    normalize: Literal["auto", "log1p_cpm", "log1p", "none"] = Field(
        "auto", description="auto: counts to library size and log1p, TPM and FPKM to log1p, logs and z-scores as read."
    )
    target_sum: float = Field(1e6, gt=0, description="Library size that counts are scaled to.")
    min_sample_fraction: float = Field(
        0.05, ge=0, le=1, description="Genes expressed in a smaller share of samples are dropped (counts, TPM, FPKM)."
    )
    batch: Literal["none", "quantile", "rank", "combat"] = Field(
        "none", description="Extra normalisation; whatever is fitted is fitted on the fold's training patients."
    )
    standardize: bool = Field(True, description="Zero mean and unit variance a gene, fitted on training patients.")
    clip: float | None = Field(5.0, gt=0, description="Standardised values are clipped to +-clip; null does not.")
    selection: SelectionSettings = Field(SelectionSettings(), description="Gene selection.")
    pathways: str | None = Field(None, description="GMT file whose pathway scores are added as features.")
