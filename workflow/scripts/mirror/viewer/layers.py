"""What is drawn over a slide: attention and prototypes, from the interpretation's GeoJSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import InputError


@dataclass(frozen=True)
class Layers:
    """Values of a slide's tiles.

    Attributes
    ----------
    name : str
        Encoder, split scheme and variant that made the values.
    left, top, size : ndarray
        float (N,), level-0 pixels.
    attention : ndarray
        float (N,), percentile of the attention in the slide, 0 to 100.
    prototype : list of str
        The prototype that each tile scores highest, or ``other``.
    """

    name: str
    left: np.ndarray
    top: np.ndarray
    size: np.ndarray
    attention: np.ndarray
    prototype: list[str]


def read_layers(path: str | Path, name: str) -> Layers:
    """Read the GeoJSON that the interpretation wrote for a slide.

    Raises
    ------
    InputError
        The file is not one that the interpretation wrote.
    """
    try:
        features = json.loads(Path(path).read_text(encoding="utf-8"))["features"]
        rings = np.array([f["geometry"]["coordinates"][0] for f in features], float).reshape(len(features), -1, 2)
        attention = [f["properties"]["measurements"]["attention_percentile"] for f in features]
        won = [str(f["properties"]["classification"]["name"]) for f in features]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"holds no tiles with attention ({type(error).__name__})",
            file=path,
            remedy="run the rule `interpret` again (`--forcerun interpret`)",
        ) from error
    corner = rings.min(1) if len(rings) else np.zeros((0, 2))
    side = rings.max(1)[:, 0] - corner[:, 0] if len(rings) else np.zeros(0)
    return Layers(name, corner[:, 0], corner[:, 1], side, np.array(attention, float), won)
