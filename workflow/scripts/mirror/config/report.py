"""Settings of the report."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Settings


class ReportSettings(Settings):
    """What the one-file report and its figures may say of patients."""

    identifiers: Literal["pseudonyms", "none", "as_given"] = Field(
        "pseudonyms",
        description="Patients and slides in the report: pseudonyms (the key is in report_key.tsv beside it), none, or "
        "as given. Tables and predictions keep the identifiers in any case.",
    )
