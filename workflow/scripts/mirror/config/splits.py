"""Settings of a split scheme."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .base import Settings


class SplitSettings(Settings):
    """How patients are divided into folds."""

    kind: Literal["stratified", "site", "published"] = Field(
        "stratified", description="stratified by label and event; site-preserving; or read from published files."
    )
    cohorts: list[str] = Field(
        default_factory=list, description="Cohorts that are divided this way; empty: all that are evaluated."
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
