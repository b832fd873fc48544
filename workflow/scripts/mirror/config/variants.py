"""Variants as data: presets over the pre-training settings. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..core.errors import InputError
from .pretrain import PretrainSettings
from .resolve import load_yaml, merge, preset_changes

Changes = dict[str, Any]


def read_presets(path: str | Path) -> dict[str, Changes]:
    """The preset table (``config/variants.yaml``): changes to the settings, by name.

    Raises
    ------
    InputError
        A missing file, or one that is no table of tables.
    """
    table = load_yaml(path)
    if not isinstance(table, dict) or not all(isinstance(v, dict) for v in table.values()):
        raise InputError("presets are a mapping of names to settings", file=path)
    return table


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
