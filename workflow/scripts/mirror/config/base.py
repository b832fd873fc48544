"""What every configuration model shares."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A strict, immutable group of settings: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
