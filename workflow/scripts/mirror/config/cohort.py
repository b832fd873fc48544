"""Settings of cohorts, splits and the leak audit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Settings
from .sources import ClinicalSource, ExpressionSource, FeatureSource, or_paths
from .targets import TargetSettings


class SimulateSettings(Settings):
    """The simulated cohort. The truth is written beside it and read by the truth-recovery benchmark alone."""

    patients: int = Field(60, ge=12, description="Patients.")
    slide_px: int = Field(3072, ge=1024, description="Side of a simulated slide at level 0 (40x), pixels.")
    genes: int = Field(600, ge=100, description="Genes in the simulated transcriptome.")
    seed: int = Field(7, ge=0, description="Seed of the simulated world.")


class CohortSettings(Settings):
    """One cohort: simulated, read from files, or the union of others."""

    title: str | None = Field(None, description="Name shown in tables and figures.")
    samples: str | list[str] | None = Field(
        None,
        description="Slide table, or a list of slide tables: slide_id, patient_id, slide_path, optional mpp and mask.",
    )
    exclude_slides: str | None = Field(
        None, description="File of slides to leave out: one slide_id per line, a reason after a tab; `qc` makes it."
    )
    masks: str | None = Field(
        None,
        description="Folder of tissue masks drawn in QuPath: {slide_id}.geojson replaces or cuts a slide's mask. A "
        "column `mask` of the slide table does the same.",
    )
    expression: ExpressionSource | None = Field(
        None, description="Expression; a path or a list of paths is short for {path: ...}.", json_schema_extra=or_paths
    )
    clinical: ClinicalSource | None = Field(
        None,
        description="Clinical table; a path or a list of paths is short for {path: ...}.",
        json_schema_extra=or_paths,
    )
    targets: dict[str, TargetSettings] = Field(
        default_factory=dict,
        description="Targets by name: {os: {kind: survival, endpoint: OS}}. Without any, `clinical.label` gives "
        "`subtyping` and the follow-up gives `survival`.",
    )
    features: list[FeatureSource] = Field(
        default_factory=list,
        description="Features that others made, one source or a list: {format: trident, path: /data, width: 1024}.",
    )
    simulate: SimulateSettings | None = Field(None, description="Draw a simulated cohort in place of reading files.")
    joint: list[str] = Field(default_factory=list, description="Cohorts to pool (pan-cancer), in place of files.")
    evaluate: bool = Field(
        True,
        description="Whether the cohort has folds, models and results of its own; false for members of a pooled "
        "cohort, targets of a transfer and cohorts of `train.with` that need none.",
    )
    joint_genes: Literal["intersection", "union"] = Field("intersection", description="Genes of a pooled cohort.")
    label_map: dict[str, str] = Field(default_factory=dict, description="Label mergers, e.g. {CCRCC: KIRC}.")
    exclude_labels: list[str] = Field(default_factory=list, description="Patients with these labels are left out.")
    min_label_count: int = Field(5, ge=1, description="Rarer labels are left out of subtyping.")
    require: Literal["both", "any"] = Field(
        "both", description="both: patients with slide and RNA; any: those with either."
    )
