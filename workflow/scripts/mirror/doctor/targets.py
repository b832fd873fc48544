"""Named targets: who has which outcome."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..cohort.outcomes import raw_outcome
from ..config.sources import ClinicalSource
from ..core.errors import InputError
from ..core.findings import Finding
from ..plan.targets import target_source
from ..readers.clinical.read import read_clinical
from ..targets.registry import Target


def check_target(
    cohort: str,
    name: str,
    target: dict[str, Any],
    clinical: dict[str, Any],
    wanted: set[str] | None,
    people: Collection[str],
) -> Finding:
    """Read one named target for the patients that all tables share.

    Parameters
    ----------
    cohort, name : str
    target, clinical : dict
        Settings of the target, and of the cohort's clinical source.
    wanted : set of str or None
        The slide table's patients, by which the column of patients is found.
    people : collection of str
        Patients of the cohort.
    """
    place = f"{cohort}: target {name}"
    rules = Target.of({"name": name, **target}).rules
    try:
        source = ClinicalSource(**target_source(clinical, target))
        table, _ = read_clinical(source, wanted)
        raw = raw_outcome(table, target["kind"], target["column"], source.about)
        known, _ = rules.apply(raw[raw["patient_id"].isin(set(people))], target)
    except InputError as error:
        return Finding(place, "problem", str(error))
    usable = known[rules.usable(known)]
    reason = rules.nothing_to_learn(usable, name) or ("" if len(usable) else f"no patient: all have {rules.lack}")
    return Finding(place, "warning" if reason else "ok", reason or f"{target['kind']}; {rules.counts(usable)}")
