"""The resolution and size of a slide whose pixels need not be at hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import InputError
from .mpp import resolve_mpp
from .open import open_slide


def slide_mpp(slide: Mapping[str, Any]) -> float | None:
    """Micrometres per pixel from the table, else from the slide itself where it is at hand, else None."""
    path = Path(str(slide.get("slide_path") or ""))
    if slide.get("mpp") is not None:
        return float(slide["mpp"])
    if not path.is_file():
        return None
    try:
        with open_slide(path) as opened:
            return resolve_mpp(opened.properties, None, path).value
    except InputError:  # the importer says that mpp is unknown
        return None


def slide_size(slide: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height of level 0, px, where the slide is at hand and can be opened, else None."""
    path = Path(str(slide.get("slide_path") or ""))
    if not path.is_file():
        return None
    try:
        with open_slide(path) as opened:
            return opened.width, opened.height
    except Exception:  # what is wrong with the slide is not asked here
        return None
