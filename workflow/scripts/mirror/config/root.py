"""The whole configuration file."""

from __future__ import annotations

from pydantic import Field

from .audit import AuditSettings
from .base import Settings
from .cohort import CohortSettings
from .evaluation import EvaluationSettings
from .interpretation import InterpretationSettings
from .pretrain import PretrainSettings
from .report import ReportSettings
from .rna import RnaSettings
from .slides import EmbedSettings, SlideSettings
from .splits import SplitSettings


class Config(Settings):
    """``config/config.yaml``."""

    seed: int = Field(42, ge=0, description="Seed of everything drawn; the same seed gives the same results.")
    results: str = Field("results", description="Folder of all outputs.")
    title: str = Field("MIRROR", description="Title of the report.")
    cohorts: dict[str, CohortSettings] = Field(description="Cohorts by name.")
    slides: SlideSettings = Field(SlideSettings(), description="Tiling.")
    encoders: list[str] = Field(
        default_factory=lambda: ["resnet50"], description="Patch encoders, rows of the encoder table."
    )
    encoder_table: str = Field("config/encoders.yaml", description="The encoder table.")
    embed: EmbedSettings = Field(EmbedSettings(), description="Patch features.")
    rna: RnaSettings = Field(RnaSettings(), description="Expression.")
    splits: dict[str, SplitSettings] = Field(
        default_factory=lambda: {"cv5": SplitSettings()}, description="Split schemes by name."
    )
    audit: AuditSettings = Field(AuditSettings(), description="The leak audit.")
    pretrain: PretrainSettings = Field(
        PretrainSettings(), description="Model and pre-training, shared by all variants."
    )
    variants: dict[str, dict] = Field(
        default_factory=lambda: {"mirror": {}, "align": {}, "mirror_plus": {}},
        description="Variants by name: a preset of config/variants.yaml (by the same name, or `preset:`) and changes.",
    )
    gpu_share: int = Field(
        1, ge=1, description="Jobs that may train or encode on one GPU of this machine at a time; see docs/cluster.md."
    )
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="Evaluation.")
    interpretation: InterpretationSettings = Field(
        InterpretationSettings(), description="Attention, prototypes and patient cards of test patients."
    )
    report: ReportSettings = Field(ReportSettings(), description="What the report says of patients.")
