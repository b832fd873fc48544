"""Slide maps as GeoJSON that QuPath opens as detections with measurements."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from ..core.atomic import write_json
from ..io.slide_maps import SlideMap


def write_map(path: str | Path, slide: str, drawn: SlideMap, names: list[str]) -> None:
    """Write one polygon per tile, level-0 pixels.

    Parameters
    ----------
    path : path-like
    slide : str
    drawn : SlideMap
    names : list of str
        Names of the chosen prototypes. A tile's class is the chosen prototype that it scores highest, or "other".
    """
    percentile = 100 * (rankdata(drawn.attention) - 0.5) / max(len(drawn.attention), 1)
    features = []
    for i, (x, y) in enumerate(drawn.coords.tolist()):
        x1, y1 = x + drawn.size, y + drawn.size
        ring = [[x, y], [x1, y], [x1, y1], [x, y1], [x, y]]
        values = {
            "attention": float(np.float32(drawn.attention[i])),
            "attention_percentile": round(float(percentile[i]), 2),
            **{
                f"prototype_{name}": round(float(drawn.scores[i, c]), 4)
                for c, name in enumerate(names)
                if np.isfinite(drawn.scores[i, c])  # a prototype below the floors has no map
            },
        }
        features.append(
            {
                "type": "Feature",
                "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{slide}:{x}:{y}")),
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {
                    "objectType": "detection",
                    "classification": {"name": names[drawn.won[i]] if drawn.won[i] >= 0 else "other"},
                    "measurements": values,
                },
            }
        )
    write_json(path, {"type": "FeatureCollection", "features": features})
