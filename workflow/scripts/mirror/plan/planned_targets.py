"""What a configuration says of the targets of its cohorts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

from ..core.errors import InputError
from .kinds import KindEntry, find_kinds
from .targets import SHORT, find_targets, patients_source, target_source

SUPERVISED = ("rfecv", "anova", "elastic_net", "published")
"""Methods of gene selection that use labels."""


class PlannedTargets(ABC):
    """The part of a `Plan` that is about targets.

    Attributes
    ----------
    config : dict
        The configuration with every default filled in.
    cohorts, evaluated : list of str
        Names of the cohorts, and of those that are evaluated on their own.
    """

    config: dict[str, Any]
    cohorts: list[str]
    evaluated: list[str]

    @abstractmethod
    def cohort(self, name: str) -> dict[str, Any]:
        """Settings of a cohort."""

    @abstractmethod
    def members(self, name: str) -> list[str]:
        """Cohorts that a pooled cohort consists of."""

    @abstractmethod
    def simulated_folder(self, name: str) -> str:
        """Folder of a simulated cohort's data."""

    @abstractmethod
    def has_clinical(self, name: str) -> bool:
        """Whether a cohort has a clinical table."""

    def clinical(self, name: str) -> dict[str, Any]:
        """The clinical source of a cohort that is read from files or simulated; empty without one."""
        cohort = self.cohort(name)
        if not cohort["simulate"]:
            return cohort["clinical"] or {}
        return {
            "path": f"{self.simulated_folder(name)}/clinical.tsv",
            "format": "table",
            "patient": "patient_id",
            "label": "subtype",
            "time": "os_days",
            "event": "os_event",
            "time_unit": "days",
            "event_is": "1_event",
            "site": "site",
        }

    @cached_property
    def _targets(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Settings of every target by cohort."""
        out: dict[str, dict[str, dict[str, Any]]] = {}
        for name in sorted(self.cohorts, key=lambda c: bool(self.cohort(c)["joint"])):  # members before pools
            if not self.has_clinical(name):
                out[name] = {}
            elif self.cohort(name)["joint"]:
                first, *rest = (out[member] for member in self.members(name))
                out[name] = {task: target for task, target in first.items() if all(task in other for other in rest)}
            else:
                out[name] = find_targets({**self.cohort(name), "clinical": self.clinical(name)})
        return out

    def targets(self, name: str) -> list[str]:
        """Names of the targets of a cohort: none without a clinical table; of a pooled one those that all have."""
        return list(self._targets[name])

    def tasks(self, name: str) -> list[str]:
        """Targets that are evaluated: all but a short form that `evaluation.tasks` leaves out."""
        wanted, found = self.config["evaluation"]["tasks"], self._targets[name]
        short = [task for task in wanted if task in found and found[task].get("short")]
        return short + [task for task in found if not found[task].get("short")]

    @cached_property
    def all_tasks(self) -> list[str]:
        """Names of the targets that are evaluated in any cohort, short forms first."""
        found = dict.fromkeys(task for name in self.evaluated for task in self.tasks(name))
        return [t for t in self.config["evaluation"]["tasks"] if t in found] + [t for t in found if t not in SHORT]

    @cached_property
    def all_targets(self) -> list[str]:
        """Names of the targets of any cohort."""
        return list(dict.fromkeys(task for name in self.cohorts for task in self.targets(name)))

    def target(self, name: str, task: str) -> dict[str, Any]:
        """What evaluation must know of a target: name, kind, order."""
        settings = self._targets[name][task]
        return {"name": task, "kind": settings["kind"], "order": list(settings.get("order") or [])}

    def kind(self, task: str) -> KindEntry:
        """The kind of a target, the same in every cohort."""
        name = next(name for name in self.cohorts if task in self.targets(name))
        return find_kinds()[self._targets[name][task]["kind"]]

    def target_title(self, task: str) -> str:
        """What a target is called in tables and figures."""
        titles = [self._targets[name][task].get("title") for name in self.cohorts if task in self.targets(name)]
        return next((title for title in titles if title), task)

    def target_settings(self, name: str, task: str) -> dict[str, Any]:
        """What the step that reads a target must know of it beside its clinical source."""
        settings = self._targets[name][task]
        return {"name": task} | {key: value for key, value in settings.items() if key not in ("title", "stratify")}

    def target_source(self, name: str, task: str) -> dict[str, Any]:
        """The clinical source of one target: without the settings of any other."""
        return target_source(self.clinical(name), self._targets[name][task])

    def patients_source(self, name: str) -> dict[str, Any]:
        """The clinical source without outcomes."""
        return patients_source(self.clinical(name))

    def first_task(self, name: str, kind: str) -> str | None:
        """The first target of a kind; None without one."""
        return next((t for t in self.targets(name) if self._targets[name][t]["kind"] == kind), None)

    def selecting_task(self, name: str) -> str | None:
        """The target whose labels gene selection uses: the one that is named, else the first class target.

        Raises
        ------
        InputError
            The named target is none of this cohort's, or has no labels.
        """
        selection = self.config["rna"]["selection"]
        if selection["method"] not in SUPERVISED:
            return None
        task = selection["target"]
        if task is None:
            return self.first_task(name, "class")
        labelled = self.labelled(name)
        if task not in labelled:
            raise InputError(
                f"`rna.selection.target`: cohort `{name}` has no target `{task}` with labels",
                remedy=f"choose among {', '.join(labelled) or 'none: use a method without labels, such as hvg'}",
            )
        return task

    def labelled(self, name: str) -> list[str]:
        """Targets with classes."""
        return [task for task in self.targets(name) if find_kinds()[self._targets[name][task]["kind"]].labels]

    def excluded_labels(self, name: str) -> dict[str, Any]:
        """Labels whose patients are left out of a cohort altogether, and where the labels are; empty without any."""
        cohort = self.cohort(name)
        if not cohort["exclude_labels"]:
            return {}
        source = target_source(self.clinical(name), {"kind": "class", "column": self.clinical(name).get("label")})
        return {"labels": cohort["exclude_labels"], "map": cohort["label_map"], "source": source}

    def stratifying(self, name: str) -> list[str]:
        """Targets in which the folds of a cohort are balanced."""
        return [task for task in self.targets(name) if self._targets[name][task].get("stratify", True)]
