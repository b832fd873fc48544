"""Which cohort's models are applied to which other cohort; standard library only, as the plan that reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Transfer:
    """Models of one cohort, encoder and split scheme for the patients of another cohort.

    Attributes
    ----------
    source, target : str
        Cohorts.
    encoder, scheme : str
        The source's.
    max_missing_genes : float
        Share of the source's genes that the target may lack.
    task : str
        The survival target.
    """

    source: str
    target: str
    encoder: str
    scheme: str
    max_missing_genes: float
    task: str = "survival"

    @property
    def name(self) -> str:
        """What stands for the scheme in the target's paths and tables, as ``cv5_from_BRCA``."""
        return f"{self.scheme}_from_{self.source}"
