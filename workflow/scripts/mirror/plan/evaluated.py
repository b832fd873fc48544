"""Which cohorts are evaluated, and in which split schemes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ..core.errors import InputError


def schemes_of(config: Mapping[str, Any], cohort: str) -> list[str]:
    """Split schemes of a cohort: none where it is not evaluated on its own.

    Parameters
    ----------
    config : mapping
        A resolved configuration.
    cohort : str

    Returns
    -------
    list of str
    """
    if not config["cohorts"][cohort]["evaluate"]:
        return []
    return [name for name, scheme in config["splits"].items() if not scheme["cohorts"] or cohort in scheme["cohorts"]]


def check_evaluated(config: Mapping[str, Any], partners: Iterable[str] = (), source: str = "config") -> None:
    """Refuse schemes of cohorts that do not exist or are not evaluated, and cohorts that nothing reads.

    Parameters
    ----------
    config : mapping
        A resolved configuration.
    partners : iterable of str
        Cohorts that variants learn from (`train.with`).
    source : str
        The file's name, for messages.

    Raises
    ------
    InputError
        Names the scheme or the cohort, and what to write.
    """
    cohorts = config["cohorts"]
    for name, scheme in config["splits"].items():
        for cohort in scheme["cohorts"]:
            at = f"`splits.{name}.cohorts`"
            if cohort not in cohorts:
                near = difflib.get_close_matches(cohort, cohorts, n=1, cutoff=0.0)[0]
                raise InputError(f"{at}: no cohort is called `{cohort}`", file=source, remedy=f"did you mean `{near}`?")
            if not cohorts[cohort]["evaluate"]:
                raise InputError(
                    f"{at}: cohort `{cohort}` is not evaluated (`evaluate: false`)",
                    file=source,
                    remedy="take it out of the list, or set its `evaluate: true`",
                )
    if not any(cohort["evaluate"] for cohort in cohorts.values()):
        raise InputError(
            "no cohort is evaluated: all have `evaluate: false`",
            file=source,
            remedy="set `evaluate: true` for one, such as the pooled cohort",
        )
    pooled = {member for cohort in cohorts.values() for member in cohort["joint"]}
    read = pooled | {entry["target"] for entry in config["evaluation"]["transfer"]} | set(partners)
    for name, cohort in cohorts.items():
        if cohort["evaluate"] and not schemes_of(config, name):
            raise InputError(
                f"cohort `{name}` has no split scheme: every scheme is for other cohorts",
                file=source,
                remedy=f"add it to `splits.<name>.cohorts`, give it a scheme, or set `cohorts.{name}.evaluate: false`",
            )
        if not cohort["evaluate"] and name not in read:
            raise InputError(
                f"cohort `{name}` has `evaluate: false`, and no pooled cohort, transfer or variant reads it",
                file=source,
                remedy="remove it, or set `evaluate: true`",
            )
