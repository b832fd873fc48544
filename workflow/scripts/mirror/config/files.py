"""Several configuration files: what a later one resets, and the shipped demo that must not join a study in silence."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .resolve import load_yaml


def merge_files(
    config: Mapping[str, Any],
    files: Sequence[str | Path],
    command_line: Mapping[str, Any],
    shipped: str | Path | None = None,
) -> dict:
    """Merge configuration files so that an empty section (``pretrain: {}``) or null resets what earlier ones say.

    Snakemake merges files key by key, by which an empty section changes nothing.

    Parameters
    ----------
    config : mapping
        What Snakemake merged.
    files : sequence of path-like
        The files given with ``--configfile``, in order.
    command_line : mapping
        The settings given with ``--config``, merged last.
    shipped : path-like, optional
        The file that is read where none is given.

    Returns
    -------
    dict
        ``config`` itself, without null sections, where nothing is reset.
    """
    base = list(files) or ([] if shipped is None else [shipped])
    if not base:
        return _without_null(config)
    contents = [load_yaml(path) or {} for path in base]
    if not any(_resets(content) for content in (*contents[1:], dict(command_line))):
        return _without_null(config)
    merged: dict[str, Any] = {}
    for content in contents:
        merged = _lay_over(merged, content)
    return _without_null(_lay_over(merged, command_line))


def _resets(content: object) -> bool:
    return isinstance(content, dict) and any(v is None or v == {} or _resets(v) for v in content.values())


def _lay_over(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in change.items():
        if isinstance(value, Mapping) and value and isinstance(out.get(key), Mapping):
            out[key] = _lay_over(out[key], value)
        else:
            out[key] = copy.deepcopy(value)
    return out


def _without_null(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out null sections (their defaults count) and null cohorts (they are not studied)."""
    out = {key: value for key, value in config.items() if value is not None}
    for section in ("cohorts", "splits"):
        if isinstance(out.get(section), Mapping):
            out[section] = {key: value for key, value in out[section].items() if value is not None}
    return out


def check_demo(
    config: Mapping[str, Any], files: Sequence[str | Path], given: Sequence[str], shipped: Path
) -> list[str]:
    """Say, or refuse, what of the shipped demo is in a run of the user's own.

    Parameters
    ----------
    config : mapping
        The merged configuration, before defaults.
    files : sequence of path-like
        The files given with ``--configfile``.
    given : sequence of str
        Top-level keys of these files and of ``--config``.
    shipped : Path
        ``config/config.yaml``.

    Returns
    -------
    list of str
        Notes for the log and the report.

    Raises
    ------
    InputError
        Files that name no cohorts, so that the demo would be run under the user's settings; the demo's simulated
        cohort beside a cohort read from files.
    """
    if files and "cohorts" not in given:
        names = ", ".join(Path(path).name for path in files)
        raise InputError(
            f"{names} names no cohorts, so that the shipped demo would be run with its settings",
            remedy=f"give it `cohorts:`; to run the demo with changes, name the shipped {shipped.name} before it: "
            f"--configfile {shipped.parent.name}/{shipped.name} {names}",
        )
    demo = load_yaml(shipped) if shipped.is_file() else {}
    cohorts = {name: value or {} for name, value in (config.get("cohorts") or {}).items()}
    own = [name for name, value in cohorts.items() if not value.get("simulate")]
    simulated = [name for name, value in cohorts.items() if value.get("simulate")]
    notes = []
    if own and simulated:
        left = [name for name in simulated if cohorts[name] == (demo.get("cohorts") or {}).get(name)]
        if left:
            raise InputError(
                f"`cohorts.{left[0]}` is the shipped demo's simulated cohort, beside {', '.join(own)}",
                remedy=f"give your file alone with --configfile (it replaces the shipped one), or set "
                f"`cohorts: {{{left[0]}: null}}`",
            )
        notes.append(f"simulated cohorts beside cohorts read from files: {', '.join(simulated)}")
    elif simulated and given:
        notes.append(f"every cohort of this run is simulated: {', '.join(simulated)}")
    if own:
        sizes = [
            f"pretrain.{part}"
            for part in ("model", "train")
            if _same_part(config.get("pretrain"), demo.get("pretrain"), part)
        ]
        if sizes:
            notes.append(
                f"{' and '.join(sizes)} hold the small sizes of the demo and of `init --small`, to see a run end on a "
                "CPU; results need the published sizes: remove the section `pretrain`, or set `pretrain: null`"
            )
    return notes


def _same_part(ours: object, demo: object, part: str) -> bool:
    if not isinstance(ours, Mapping) or not isinstance(demo, Mapping) or not demo.get(part):
        return False
    given = ours.get(part)
    keys = ("embed_dim",) if part == "model" else ("epochs", "batch_size")
    return isinstance(given, Mapping) and all(given.get(key) == demo[part].get(key) for key in keys)
