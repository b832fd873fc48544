"""Settings of interpretation: attention, prototypes, patient cards."""

from __future__ import annotations

from pydantic import Field

from .base import Settings


class InterpretationSettings(Settings):
    """What the pre-trained models look at, shown on out-of-fold test patients alone."""

    variants: list[str] = Field(
        default_factory=lambda: ["mirror"], description="Variants to interpret; empty interprets none."
    )
    prototypes: int = Field(6, ge=1, le=24, description="Most used style prototypes shown.")
    redundant: float = Field(
        0.9,
        gt=0,
        le=1,
        description="A prototype whose scores correlate more than this with a shown one is passed over.",
    )
    tiles: int = Field(8, ge=1, le=40, description="Tiles in a prototype's gallery.")
    gallery_share: float = Field(
        0.34,
        gt=0,
        le=1,
        description="A gallery shows tiles of this share of the patients, those who score the prototype highest.",
    )
    tiles_per_patient: int = Field(2, ge=1, description="Tiles of one patient in a gallery at most.")
    slides: int = Field(
        4, ge=0, le=200, description="Slides drawn with attention and prototypes, and written as GeoJSON."
    )
    cards: int = Field(2, ge=0, le=200, description="Patients with a one-page card, spread over the predicted risk.")
    genes: int = Field(8, ge=1, le=100, description="Genes shown for a prototype; the table holds all.")
    gene_sets: str | None = Field(
        None, description="GMT file of gene sets (hallmarks); a simulated cohort uses its planted modules."
    )
    min_set: int = Field(5, ge=2, description="Gene sets with fewer measured genes are left out.")
    permutations: int = Field(
        1000, ge=100, description="Permutations of patients behind the p values of style clusters."
    )
    min_spread: float = Field(
        0.01, ge=0, description="A prototype whose raw score has a smaller SD over patients has no association or map."
    )
    min_match: float = Field(
        0.5, ge=-1, le=1, description="The same where its scores correlate less than this between two folds' models."
    )
    min_agreement: float = Field(
        0.3, ge=-1, le=1, description="The same where its tiles' scores correlate less than this with its slides'."
    )
