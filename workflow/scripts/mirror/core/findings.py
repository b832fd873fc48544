"""What a check found: one row of the doctor's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One row of the doctor's table."""

    what: str
    state: State
    detail: str
