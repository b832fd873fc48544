"""Settings of cohorts, splits and the leak audit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Settings
from .rna import ExpressionSource


class ClinicalSource(Settings):
    """A clinical table. Event polarity and time unit follow from the format, or are named here."""

    path: str = Field(description="The table.")
    format: Literal["auto", "table", "tcga_cdr", "cbioportal", "gdc", "porpoise"] = Field(
        "auto", description="Format; auto recognises it."
    )
    endpoint: Literal["OS", "DSS", "PFI", "DFI"] = Field("OS", description="Which survival endpoint.")
    patient: str | None = Field(None, description="Column of patient identifiers (format table).")
    label: str | None = Field(None, description="Column of the subtype label.")
    time: str | None = Field(None, description="Column of the follow-up time.")
    event: str | None = Field(None, description="Column of the event indicator.")
    time_unit: Literal["auto", "days", "months", "years"] = Field("auto", description="Unit of the time column.")
    event_is: Literal["auto", "1_event", "1_censored"] = Field("auto", description="What 1 means in the event column.")
    negative_times: Literal["missing", "error"] = Field(
        "missing", description="Times below zero: no follow-up (counted; the patient stays for subtyping), or refuse."
    )
    zero_times: Literal["keep", "missing", "half_day", "error"] = Field(
        "keep", description="Times of zero days: keep, no follow-up, half a day, or refuse; counted in any case."
    )
    site: str | None = Field(None, description="Column of the submitting site; TCGA barcodes give it by themselves.")
    covariates: list[str] = Field(
        default_factory=list, description="Columns for the clinical-only baseline; empty takes age, sex and stage."
    )


class FeatureSource(Settings):
    """Patch features that others made; tiling and embedding are skipped."""

    format: Literal["trident", "clam", "stamp", "pt"] = Field(description="Who wrote them.")
    path: str = Field(description="Their folder.")
    width: int = Field(ge=1, description="Features a tile; checked against the files.")
    encoder: str = Field("imported", description="Name under which these features appear in results.")


class SimulateSettings(Settings):
    """The simulated cohort. The truth is written beside it and read by the truth-recovery benchmark alone."""

    patients: int = Field(60, ge=12, description="Patients.")
    slide_px: int = Field(3072, ge=1024, description="Side of a simulated slide at level 0 (40x), pixels.")
    genes: int = Field(600, ge=100, description="Genes in the simulated transcriptome.")
    seed: int = Field(7, ge=0, description="Seed of the simulated world.")


class CohortSettings(Settings):
    """One cohort: simulated, read from files, or the union of others."""

    title: str | None = Field(None, description="Name shown in tables and figures.")
    samples: str | None = Field(None, description="Slide table: slide_id, patient_id, slide_path, optional mpp.")
    expression: ExpressionSource | None = Field(None, description="Expression.")
    clinical: ClinicalSource | None = Field(None, description="Clinical table.")
    features: list[FeatureSource] = Field(
        default_factory=list,
        description="Features that others made, one source or a list: {format: trident, path: /data, width: 1024}.",
    )
    simulate: SimulateSettings | None = Field(None, description="Draw a simulated cohort in place of reading files.")
    joint: list[str] = Field(default_factory=list, description="Cohorts to pool (pan-cancer), in place of files.")
    joint_genes: Literal["intersection", "union"] = Field("intersection", description="Genes of a pooled cohort.")
    label_map: dict[str, str] = Field(default_factory=dict, description="Label mergers, e.g. {CCRCC: KIRC}.")
    exclude_labels: list[str] = Field(default_factory=list, description="Patients with these labels are left out.")
    min_label_count: int = Field(5, ge=1, description="Rarer labels are left out of subtyping.")
    require: Literal["both", "any"] = Field(
        "both", description="both: patients with slide and RNA; any: those with either."
    )


CheckName = Literal[
    "patient_overlap",
    "slide_duplicates",
    "rna_duplicates",
    "gene_selection",
    "scaling",
    "time_bins",
    "label_map",
    "pretraining",
    "probe",
    "epoch_selection",
    "site_label_confounding",
    "shared_sites",
    "test_coverage",
]


class SplitSettings(Settings):
    """How patients are divided into folds."""

    kind: Literal["stratified", "site", "published"] = Field(
        "stratified", description="stratified by label and event; site-preserving; or read from published files."
    )
    folds: int = Field(5, ge=2, le=20, description="Folds.")
    repeats: int = Field(1, ge=1, le=50, description="Repeats of the whole cross-validation.")
    path: str | None = Field(None, description="Folder of splits_{k}.csv (kind published); {cohort} is filled in.")
    repair: bool = Field(False, description="Published splits only: a patient in both sets goes to test alone.")
    site_restarts: int = Field(
        200, ge=1, le=1000, description="Random starts of the site-preserving assignment; the best balanced is kept."
    )

    @model_validator(mode="after")
    def _published_is_whole(self) -> SplitSettings:
        if self.kind == "published" and not self.path:
            raise ValueError("kind: published needs path, the folder of splits_{k}.csv")
        if self.kind == "published" and self.repeats != 1:
            raise ValueError("kind: published has one repeat; set repeats: 1")
        if self.kind != "published" and (self.path or self.repair):
            raise ValueError("path and repair belong to kind: published")
        return self


class AuditSettings(Settings):
    """The leak audit."""

    allow: dict[CheckName, Annotated[str, Field(min_length=3)]] = Field(
        default_factory=dict, description="Checks that may fail, each with the reason, shown in every table it touches."
    )
    rna_tolerance: float = Field(
        1e-3,
        gt=0,
        lt=0.1,
        description="Two RNA vectors are the same when no gene differs by more than this (log scale).",
    )
    min_site_patients: int = Field(
        2, ge=2, description="Smaller sites are not counted when a site is asked whether it has one label only."
    )
