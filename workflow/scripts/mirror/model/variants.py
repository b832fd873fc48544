"""Variants as data: presets over the pre-training settings. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ..config.pretrain import PretrainSettings
from ..io.errors import InputError

Changes = dict[str, Any]


def read_presets(path: str | Path) -> dict[str, Changes]:
    """The preset table (``config/variants.yaml``): changes to the settings, by name.

    Raises
    ------
    InputError
        A missing file, or one that is no table of tables.
    """
    try:
        table = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"the presets cannot be read: {error}", file=path) from None
    if not isinstance(table, dict) or not all(isinstance(v, dict) for v in table.values()):
        raise InputError("presets are a mapping of names to settings", file=path)
    return table


def merge(base: Changes, changes: Changes) -> Changes:
    """``base`` with ``changes`` laid over it, groups merged key by key; neither is modified."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def preset_changes(name: str, presets: dict[str, Changes], seen: tuple[str, ...] = ()) -> Changes:
    """The changes of a preset, with those of the preset it starts from.

    Raises
    ------
    InputError
        An unknown preset, or presets that start from each other.
    """
    if name not in presets:
        raise InputError(f"no preset is called {name!r}", remedy=f"choose one of {', '.join(sorted(presets))}")
    if name in seen:
        raise InputError(f"presets start from each other: {' -> '.join((*seen, name))}")
    own = {key: value for key, value in presets[name].items() if key != "preset"}
    parent = presets[name].get("preset")
    return merge(preset_changes(parent, presets, (*seen, name)), own) if parent else own


def variant_settings(
    name: str, changes: Changes | None, base: PretrainSettings, presets: dict[str, Changes]
) -> PretrainSettings:
    """Complete settings of one variant.

    Parameters
    ----------
    name : str
        The variant; also its preset, unless ``changes`` has ``preset``.
    changes : dict, optional
        The configuration's changes, which come last.
    base : PretrainSettings
        What all variants share.
    presets : dict
        From `read_presets`.

    Raises
    ------
    InputError
        An unknown preset, or settings that do not validate.
    """
    changes = dict(changes or {})
    preset = changes.pop("preset", name)
    settings = merge(merge(base.model_dump(), preset_changes(preset, presets)), changes)
    try:
        return PretrainSettings.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"variant {name}: {where}: {first['msg']}") from None
