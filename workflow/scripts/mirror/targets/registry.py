"""The registry of kinds of target, and what a target is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from ..core.errors import InputError
from ..plan.kinds import find_kinds
from ..plan.targets import SHORT
from .kind import Kind

REGISTRY: dict[str, Kind] = {}
K = TypeVar("K", bound=type[Kind])


def kind(name: str, **words: Any) -> Callable[[K], K]:
    """Register the decorated class as a kind of target.

    The arguments must be written out: the workflow reads them without importing the file
    (`mirror.plan.kinds.find_kinds`). For their meaning see `mirror.plan.kinds.KindEntry`.
    """

    def register(cls: K) -> K:
        cls.name, cls.primary = name, words["primary"]
        REGISTRY[name] = cls()
        return cls

    return register


@cache
def find_kind(name: str) -> Kind:
    """The kind of this name. Its file alone is imported.

    Raises
    ------
    InputError
        There is none.
    """
    known = find_kinds()
    if name not in known:
        raise InputError(f"no kind of target is called '{name}'", remedy=f"choose among {', '.join(known)}")
    import_module(f"{__package__}.{known[name].file.stem}")
    return REGISTRY[name]


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes
    ----------
    name : str
        As in the configuration; the column ``task`` of predictions and metrics holds it.
    kind : str
    order : tuple of str
        Levels of an ordinal target, the lowest first.
    """

    name: str
    kind: str
    order: tuple[str, ...] = ()

    @classmethod
    def of(cls, target: Target | str | Mapping[str, Any]) -> Target:
        """A target from plain data, or from the name of a short form (``subtyping``, ``survival``).

        Raises
        ------
        InputError
            A name that says no kind.
        """
        if isinstance(target, Target):
            return target
        if isinstance(target, str):
            if target not in SHORT:
                raise InputError(f"the kind of target '{target}' is not known", remedy="give name and kind")
            return cls(target, SHORT[target])
        return cls(str(target["name"]), str(target["kind"]), tuple(target.get("order") or ()))

    @property
    def rules(self) -> Kind:
        """What its kind says, for this target's order."""
        return find_kind(self.kind).of(self)

    def __str__(self) -> str:
        return self.name
