"""Other cohorts that a variant learns from: their files. Standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.errors import InputError

if TYPE_CHECKING:
    from .plan import Plan


def partners(plan: Plan, variant: str, cohort: str, encoder: str) -> list[dict[str, Any]]:
    """Files of the cohorts of ``train.with``, as `mirror.dataset.partners.Partner` takes them.

    The cohort itself, and members of a pooled one, are passed over.

    Raises
    ------
    InputError
        A cohort has slides, but no features of this encoder.
    """
    out = []
    for name in dict.fromkeys(plan.variants[variant]["train"]["with"]):
        if name in (cohort, *plan.members(cohort)):
            continue
        slides = plan.has_slides(name)
        if slides and encoder not in plan.encoders_of(name):
            raise InputError(
                f"variant `{variant}`: `train.with`: cohort `{name}` has no patch features of encoder `{encoder}`",
                remedy=f"it has those of {', '.join(plan.encoders_of(name))}; name them alike in both cohorts",
            )
        paths = plan.paths
        out.append(
            {
                "name": name,
                "patients": paths.patients.at(cohort=name),
                "slides": paths.slides.at(cohort=name) if slides else "",
                "expression": paths.rna.at(cohort=name) if plan.has_rna(name) else "",
                "feature_status": plan.feature_tables(name, encoder) if slides else [],
            }
        )
    return out


def partner_files(plan: Plan, variant: str, cohort: str, encoder: str) -> list[str]:
    """All files of `partners`, for a rule's input."""
    return [
        file
        for partner in partners(plan, variant, cohort, encoder)
        for file in (partner["patients"], partner["slides"], partner["expression"], *partner["feature_status"])
        if file
    ]
