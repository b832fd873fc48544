"""Settings of expression: reading, normalising, selecting genes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Settings


class ExpressionSource(Settings):
    """Where a cohort's expression comes from. What the file holds is detected and stated."""

    path: str = Field(description="File, or folder of GDC STAR-count files (nested folders are searched).")
    format: Literal["auto", "gdc_star", "xena", "cbioportal", "matrix", "reference", "porpoise", "h5ad"] = Field(
        "auto", description="File format; auto recognises it."
    )
    values: Literal["auto", "counts", "tpm", "fpkm", "log2", "log1p", "zscore"] = Field(
        "auto", description="What the numbers are; auto detects it, a contradiction is an error."
    )
    orientation: Literal["auto", "genes_by_samples", "samples_by_genes"] = Field(
        "auto", description="Which way round a plain matrix is."
    )
    sample_sheet: str | None = Field(
        None,
        description="GDC sample sheet (format gdc_star), or for any format a table of sample_id, patient_id and, "
        "optionally, sample_type.",
    )
    sample_types: list[str] = Field(
        default_factory=lambda: ["01", "03", "09", "02", "05", "06", "07", "04", "40"],
        description="TCGA sample types that are read, the most preferred first; a patient's samples of less preferred "
        "types are left out. Normals (10 to 14) are not in the default.",
    )
    probe_map: str | None = Field(None, description="Xena probe map: identifiers to gene symbols.")
    column: str = Field("unstranded", description="Column of GDC STAR-count files (unstranded, tpm_unstranded ...).")
    duplicates: Literal["first", "mean", "highest_total", "error"] = Field(
        "first", description="Several samples of a patient with different values: which counts."
    )
    missing: Literal["error", "drop_gene", "median"] = Field(
        "drop_gene", description="Missing values: refuse, drop the gene, or the training patients' median."
    )
    negative: Literal["error", "missing", "zero"] = Field(
        "error", description="Negative counts, TPM or FPKM (some batch corrections make a few): refuse, missing, or 0."
    )
    layer: str | None = Field(None, description="Layer of an h5ad file to read in place of X.")
    gene_duplicates: Literal["auto", "sum", "mean", "first", "error"] = Field(
        "auto", description="Genes named twice; auto sums counts, TPM and FPKM and averages logarithms and z-scores."
    )
    constant_genes: Literal["keep", "drop"] = Field(
        "keep", description="Genes with the same value in every patient; counted either way."
    )
    extreme: Literal["clip", "keep", "drop_gene", "error"] = Field(
        "clip", description="z-scores beyond extreme_z: clip to it, keep, drop the gene, or refuse; counted either way."
    )
    extreme_z: float = Field(10.0, gt=0, description="Bound of plausible z-scores, standard deviations.")


class SelectionSettings(Settings):
    """Which genes enter the model; fitted inside each fold on its training patients."""

    method: Literal["rfecv", "published", "hvg", "anova", "elastic_net", "all", "list"] = Field(
        "rfecv",
        description="rfecv: recursive elimination inside the fold; published: the reference's leaking way, marked so.",
    )
    n_genes: int = Field(2000, ge=1, description="Genes kept by hvg and anova; at most so many by elastic_net.")
    step: float = Field(0.05, gt=0, lt=1, description="Share of the original genes dropped a round (rfecv).")
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
    standardize: bool = Field(True, description="Zero mean and unit variance a gene, fitted on training patients.")
    clip: float | None = Field(
        5.0, gt=0, description="Standardised values (and z-scores as read) are clipped to +-clip."
    )
    selection: SelectionSettings = Field(SelectionSettings(), description="Gene selection.")
    pathways: str | None = Field(None, description="GMT file whose pathway scores are added as features.")
