"""Which cohort's models are applied to which other cohort; standard library only, as the plan that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..core.errors import InputError


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


def check_external(
    transfers: Sequence[Transfer], variants: Mapping[str, Mapping], members: Callable[[str], list[str]]
) -> None:
    """Refuse external validation on a cohort that a variant learns from.

    Parameters
    ----------
    transfers : sequence of Transfer
    variants : mapping
        Complete settings by name.
    members : callable
        Gives the cohorts that a pooled cohort consists of.

    Raises
    ------
    InputError
        Now, since the leak audit would say so only after training.
    """
    for transfer in transfers:
        for name, settings in variants.items():
            seen = set(members(transfer.target)) & set(settings["train"]["with"])
            if seen:
                raise InputError(
                    f"variant `{name}` learns from cohort `{min(seen)}` (`train.with`), on which models of "
                    f"`{transfer.source}` are to be validated",
                    remedy="take the cohort out of train.with, or out of evaluation.transfer",
                )
