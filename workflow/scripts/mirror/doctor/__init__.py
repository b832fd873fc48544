"""What is missing or suspicious, before hours are spent: one table of checks, and a plan.

Each check is a small function that returns rows; none of them writes or computes anything that
the workflow needs. A check that cannot run says so in its row instead of ending the others.
"""

from .encoders import check_encoders
from .machine import check_machine
from .render import guarded, render
from .slides import SlideScan, check_slides
from .tables import check_features, check_tables

__all__ = [
    "SlideScan",
    "check_encoders",
    "check_features",
    "check_machine",
    "check_slides",
    "check_tables",
    "guarded",
    "render",
]
