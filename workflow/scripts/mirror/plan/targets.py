"""The targets of a cohort: those that the configuration names, and those of the short forms."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from ..core.errors import InputError
from .kinds import find_kinds

SHORT = {"subtyping": "class", "survival": "survival"}
"""Targets that `clinical.label` and the follow-up give without being named."""
RESERVED = ("retrieval", "truth", "pooled")
COMMON = ("kind", "title", "stratify")
OUTCOME = (
    "label", "time", "event", "time_unit", "event_is", "negative_times", "zero_times", "contradictions", "classes",
)  # fmt: skip
"""Settings of a clinical source that say what an outcome is; the patients' table does not depend on them."""
FOLLOW_UP = tuple(name for name in OUTCOME if name not in ("label", "classes"))


def find_targets(cohort: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Targets of a cohort that is read from files or simulated, by name.

    Parameters
    ----------
    cohort : mapping
        Its settings, complete.

    Returns
    -------
    dict
        Complete settings of each target. Where ``targets`` are named, a short form counts only where its columns
        are named: ``clinical.label``, or ``clinical.time`` and ``clinical.event``.
    """
    named = cohort["targets"]
    clinical = cohort["clinical"] or {}
    short: dict[str, dict[str, Any]] = {}
    if not named or clinical.get("label"):
        short["subtyping"] = {
            "kind": "class",
            "short": True,
            "column": clinical.get("label"),
            "map": cohort["label_map"],
            "min_count": cohort["min_label_count"],
            "classes": clinical.get("classes", []),
            "title": "Subtyping",
        }
    if not named or (clinical.get("time") and clinical.get("event")):
        short["survival"] = {"kind": "survival", "short": True, "title": "Survival"}
    return {name: target for name, target in short.items() if name not in named} | {
        name: dict(settings) for name, settings in named.items()
    }


def check_targets(config: Mapping[str, Any], name_pattern: re.Pattern[str], source: str = "config") -> None:
    """Refuse targets that cannot be: unknown kinds, settings of another kind, one name with two kinds.

    Raises
    ------
    InputError
        Names the target, the setting and the nearest valid one.
    """
    kinds = find_kinds()
    seen: dict[str, tuple[str, dict[str, Any]]] = {}
    for cohort, settings in config["cohorts"].items():
        if settings["targets"] and settings["joint"]:
            raise InputError(
                f"`cohorts.{cohort}.targets`: a pooled cohort has the targets of its members",
                file=source,
                remedy="name them there",
            )
        if settings["targets"] and not (settings["clinical"] or settings["simulate"]):
            raise InputError(
                f"`cohorts.{cohort}.targets` needs a clinical table", file=source, remedy="give `clinical`"
            )
        if settings["joint"]:
            continue
        for name, target in find_targets(settings).items():
            at = f"`cohorts.{cohort}.targets.{name}`"
            if not name_pattern.fullmatch(str(name)) or name in RESERVED:
                raise InputError(
                    f"{at} is not a usable name",
                    file=source,
                    remedy=f"use letters, digits, dash and underscore, and none of {', '.join(RESERVED)}",
                )
            if target["kind"] not in kinds:
                near = difflib.get_close_matches(target["kind"], kinds, n=1, cutoff=0.0)[0]
                raise InputError(
                    f"{at}: no kind of target is called `{target['kind']}`",
                    file=source,
                    remedy=f"did you mean `{near}`? Kinds: {', '.join(kinds)}",
                )
            if name in settings["targets"]:
                _check_settings(at, target, source)
            known = seen.setdefault(name, (cohort, target))
            if (known[1]["kind"], known[1].get("order")) != (target["kind"], target.get("order")):
                raise InputError(
                    f"{at}: in cohort `{known[0]}` the target of this name has another kind or order",
                    file=source,
                    remedy="give it another name, or the same kind",
                )


def _check_settings(at: str, target: Mapping[str, Any], source: str) -> None:
    """Whether a target has what its kind needs, and nothing of another kind."""
    kind = find_kinds()[target["kind"]]
    given = {
        key for key, value in target.items() if key not in COMMON and value not in (None, [], {}, "auto", "none")
    } - {"min_count"}
    foreign = sorted(given - set(kind.settings))
    if foreign:
        raise InputError(
            f"{at}: `{foreign[0]}` is no setting of kind {target['kind']}",
            file=source,
            remedy=f"its settings: {', '.join((*COMMON, *kind.settings))}",
        )
    lacking = [key for key in kind.required if not target.get(key)]
    if lacking:
        raise InputError(
            f"{at}: kind {target['kind']} needs `{lacking[0]}`", file=source, remedy=f"name `{lacking[0]}`"
        )
    if bool(target.get("time")) != bool(target.get("event")):
        raise InputError(f"{at}: `time` and `event` go together", file=source, remedy="name both, or the `endpoint`")


def patients_source(clinical: Mapping[str, Any]) -> dict[str, Any]:
    """A clinical source without its outcomes: what the patients' table is read from."""
    return {key: value for key, value in clinical.items() if key not in OUTCOME} | {"endpoint": "none"}


def target_source(clinical: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, Any]:
    """The clinical source that one target is read from: no setting of another target is part of it."""
    rest = {key: value for key, value in clinical.items() if key not in (*OUTCOME, "covariates")}
    if target["kind"] == "survival":
        follow_up = {key: clinical[key] for key in FOLLOW_UP if key in clinical}
        if target.get("short"):
            return rest | follow_up
        own = {key: target[key] for key in ("time", "event") if target.get(key)}
        own |= {key: target[key] for key in ("time_unit", "event_is") if target.get(key, "auto") != "auto"}
        follow_up |= {"time": None, "event": None} | own
        return rest | follow_up | {"endpoint": target.get("endpoint") or _endpoint(target.get("event"))}
    if find_kinds()[target["kind"]].labels:
        label = {"label": target.get("column"), "classes": list(target.get("classes") or [])}
        return rest | {"endpoint": "none"} | {key: value for key, value in label.items() if value}
    return rest | {"endpoint": "none", "covariates": [target["column"]]}


def _endpoint(event: str | None) -> str:
    """The endpoint that an event column's name states; OS without one."""
    for endpoint in ("DSS", "PFI", "DFI"):
        if event and re.search(rf"(^|[^a-z]){endpoint.lower()}", event.lower()):
            return endpoint
    return "OS"
