"""Which cohort's models are applied to which other cohort; standard library only, as the plan that reads it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.errors import InputError

if TYPE_CHECKING:
    from .plan import Plan


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


def find_transfers(plan: Plan) -> list[Transfer]:
    """The transfers of a configuration, one for each encoder and split scheme.

    Raises
    ------
    InputError
        A cohort that does not exist or lacks what is needed; a transfer onto itself or named twice.
    """
    out: list[Transfer] = []
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(plan.config["evaluation"]["transfer"]):
        at = f"`evaluation.transfer[{number}]`"
        source, target = entry["source"], entry["target"]
        for name in (source, target):
            if name not in plan.cohorts:
                near = difflib.get_close_matches(name, plan.cohorts, n=1, cutoff=0.0)
                raise InputError(f"{at}: no cohort is called `{name}`", remedy=f"did you mean `{near[0]}`?")
            if not any(plan.target(name, task)["kind"] == "survival" for task in plan.tasks(name)):
                raise InputError(
                    f"{at}: cohort `{name}` is not evaluated for survival",
                    remedy="give it a clinical table, and survival among evaluation.tasks",
                )
        tasks = [
            t for t in plan.tasks(source) if t in plan.tasks(target) and plan.target(source, t)["kind"] == "survival"
        ]
        if not tasks:
            raise InputError(
                f"{at}: {source} and {target} share no survival target", remedy="give both one of the same name"
            )
        related = set(plan.members(source)) & set(plan.members(target))
        if related or (source, target) in seen:
            what = f"{', '.join(sorted(related))} would be on both sides" if related else "named twice"
            raise InputError(f"{at}: {source} to {target}: {what}", remedy="name two different cohorts, once")
        seen.add((source, target))
        if source not in plan.evaluated:
            raise InputError(
                f"{at}: no model is trained on `{source}`, which has `evaluate: false`",
                remedy=f"set `cohorts.{source}.evaluate: true`",
            )
        if not plan.trains(source):
            raise InputError(f"{at}: no model is trained on `{source}`, which lacks slides or expression")
        if not (plan.has_slides(target) or plan.has_rna(target)):
            raise InputError(f"{at}: cohort `{target}` has neither slides nor expression")
        encoders = plan.encoders_of(source)
        if plan.has_slides(target):
            encoders = [e for e in encoders if e in plan.encoders_of(target)]
        if not encoders:
            raise InputError(
                f"{at}: {source} and {target} share no patch encoder", remedy="give both the same features"
            )
        for encoder in encoders:
            for scheme in plan.schemes(source):
                out.append(Transfer(source, target, encoder, scheme, entry["max_missing_genes"], tasks[0]))
    clash = {t.name for t in out} & set(plan.config["splits"])
    if clash:
        raise InputError(f"the split scheme `{clash.pop()}` has the name of a transfer", remedy="rename the scheme")
    return out


def check_external(plan: Plan) -> None:
    """Refuse external validation on a cohort that a variant learns from.

    Raises
    ------
    InputError
        Now, since the leak audit would say so only after training.
    """
    for transfer in plan.transfers:
        for name, settings in plan.variants.items():
            seen = set(plan.members(transfer.target)) & set(settings["train"]["with"])
            if seen:
                raise InputError(
                    f"variant `{name}` learns from cohort `{min(seen)}` (`train.with`), on which models of "
                    f"`{transfer.source}` are to be validated",
                    remedy="take the cohort out of train.with, or out of evaluation.transfer",
                )
