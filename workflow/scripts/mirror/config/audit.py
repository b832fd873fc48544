"""Settings of the leak audit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Settings

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
