"""Short forms of a cohort's sources: a path, or a list of paths, for a section. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import InputError

SOURCES = ("expression", "clinical")


def long_form(given: Any) -> Any:
    """A source as a section with one ``path`` and, where there are several, the others under ``further``.

    Parameters
    ----------
    given : Any
        A path, a list of paths, or a section whose ``path`` is either. Anything else is returned as it is, for the
        schema to refuse.

    Returns
    -------
    Any
    """
    if isinstance(given, str) or _texts(given):
        given = {"path": given}
    if not isinstance(given, Mapping) or not _texts(given.get("path")):
        return given
    first, *others = given["path"]
    return {**given, "path": first, "further": [*others, *given.get("further", [])]}


def _texts(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(isinstance(path, str) for path in given)


def unfold(config: Mapping[str, Any], source: str = "config") -> dict[str, Any]:
    """A configuration with the sources of its cohorts in their long form.

    Raises
    ------
    InputError
        An empty list of files, or one file twice.
    """
    cohorts = config.get("cohorts")
    if not isinstance(cohorts, Mapping):
        return dict(config)
    out = {}
    for name, cohort in cohorts.items():
        if isinstance(cohort, Mapping):
            cohort = dict(cohort)
            for key in SOURCES:
                if key in cohort:
                    cohort[key] = long_form(cohort[key])
                    _check(cohort[key], f"`cohorts.{name}.{key}`", source)
            if isinstance(cohort.get("samples"), list):
                _check({"path": cohort["samples"]}, f"`cohorts.{name}.samples`", source)
        out[name] = cohort
    return {**config, "cohorts": out}


def _check(section: Any, at: str, source: str) -> None:
    if section is None:
        return
    if section == [] or (isinstance(section, Mapping) and section.get("path") == []):
        raise InputError(f"{at} names no file", file=source, remedy="name at least one, or remove the key")
    if not isinstance(section, Mapping) or not isinstance(section.get("path", ""), str | list):
        raise InputError(f"{at} is no path", file=source, remedy="give a path, a list of paths, or {path: ...}")
    path = section.get("path")
    files = path if isinstance(path, list) else [path, *(section.get("further") or [])]
    twice = next((file for place, file in enumerate(files) if file in files[:place]), None)
    if twice is not None:
        raise InputError(f"{at} names {twice} twice", file=source, remedy="name every file once")


def files_of(given: str | list[str] | None) -> list[str]:
    """The files of a setting that takes one path or a list of them."""
    return [] if not given else [given] if isinstance(given, str) else list(given)
