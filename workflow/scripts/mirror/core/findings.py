"""What a check found: one row of the doctor's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One row of the doctor's table.

    Attributes
    ----------
    what : str
        What was looked at.
    state : {"ok", "warning", "problem"}
        The run goes on with a warning and would stop with a problem.
    detail : str
        What was found.
    remedy : str
        What to do; every row that is not ok has one.
    """

    what: str
    state: State
    detail: str
    remedy: str = ""
