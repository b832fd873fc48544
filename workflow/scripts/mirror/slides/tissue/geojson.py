"""Tissue outlines as GeoJSON."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np

from ...core.atomic import write_json

TISSUE_RGB, PEN_RGB, TILE_RGB = (0, 160, 80), (220, 30, 30), (40, 90, 200)


def write_geojson(path: str | Path, shapes: dict[str, list[list[np.ndarray]]]) -> None:
    """Write outlines as a GeoJSON that QuPath imports as annotations, classified by name.

    Parameters
    ----------
    path : path-like
        Output.
    shapes : dict of str to outlines
        Classification ("Tissue", "Pen") to pieces, level-0 pixels.
    """
    colours = {"Tissue": TISSUE_RGB, "Pen": PEN_RGB}
    features: list[dict[str, Any]] = []
    for name, pieces in shapes.items():
        for number, rings in enumerate(pieces):
            # the id follows from the content, so that a rerun writes the same bytes
            mark = uuid.uuid5(uuid.NAMESPACE_OID, f"{name}:{number}:{rings[0].tobytes().hex()[:256]}")
            properties = {
                "objectType": "annotation",
                "classification": {"name": name, "color": list(colours.get(name, TILE_RGB))},
                "isLocked": False,
            }
            shape = {"type": "Polygon", "coordinates": [np.round(ring, 1).tolist() for ring in rings]}
            features.append({"type": "Feature", "id": str(mark), "geometry": shape, "properties": properties})
    write_json(path, {"type": "FeatureCollection", "features": features})
