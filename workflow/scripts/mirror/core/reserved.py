"""Names that mean something to the workflow and are no method's."""

from __future__ import annotations

CEILING = "ceiling"  # linear heads on the true factors of a simulated cohort

INPUT = "input"  # the input itself, in the table of what is known of the truth


NO_ENCODER = "none"
