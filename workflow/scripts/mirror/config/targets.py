"""Settings of a target: what is predicted of a patient."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Settings


class TargetSettings(Settings):
    """One target: a class, an ordered class, a survival endpoint or a number. The name is the user's."""

    kind: str = Field(description="Kind of target: class, ordinal, survival or number; a file of mirror/targets each.")
    column: str | None = Field(None, description="Column of the clinical table (class, ordinal, number).")
    title: str | None = Field(None, description="Name in tables and figures; the target's name without it.")
    map: dict[str, str] = Field(
        default_factory=dict, description="Values that become another, e.g. {CCRCC: KIRC} (class, ordinal)."
    )
    keep: list[str] = Field(
        default_factory=list, description="Only patients with these values take part; empty: all (class)."
    )
    exclude: list[str] = Field(
        default_factory=list, description="Patients with these values do not take part (class, ordinal)."
    )
    classes: list[str] = Field(
        default_factory=list,
        description="Words that are classes although they usually mean missing, e.g. [unknown] (class, ordinal).",
    )
    min_count: int = Field(5, ge=1, description="Values of fewer patients are left out (class, ordinal).")
    order: list[str] = Field(default_factory=list, description="All levels, the lowest first (ordinal).")
    endpoint: Literal["OS", "DSS", "PFI", "DFI"] | None = Field(
        None, description="Endpoint; without it that of the event column's name, else OS (survival)."
    )
    time: str | None = Field(None, description="Column of the follow-up time (survival).")
    event: str | None = Field(None, description="Column of the event indicator (survival).")
    time_unit: Literal["auto", "days", "months", "years"] = Field(
        "auto", description="Unit of the time column; auto: that of `clinical.time_unit` (survival)."
    )
    event_is: Literal["auto", "1_event", "1_censored"] = Field(
        "auto", description="What 1 means in the event column; auto: that of `clinical.event_is` (survival)."
    )
    transform: Literal["none", "log1p", "sqrt"] = Field(
        "none", description="Transformation before anything is fitted; predictions stay on its scale (number)."
    )
    stratify: bool = Field(True, description="Whether folds are balanced in this target when they are drawn.")
