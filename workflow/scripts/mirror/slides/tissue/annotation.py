"""A tissue mask drawn by a person: a GeoJSON as QuPath exports it, in level-0 pixels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
import shapely.geometry
from shapely.errors import ShapelyError

from ...core.errors import InputError
from ...core.hashing import sha256_file
from ...core.regular_file import refuse_irregular
from .mask import TissueMask

CUT = frozenset({"ignore", "exclude", "artifact", "artefact", "pen", "background", "cut"})
"""Classes of QuPath whose areas are cut out; an asterisk at the end (``Ignore*``) does not matter."""

SLACK = 0.01  # share of the slide's side by which a drawn outline may reach beyond it
CORNER = 8  # an annotation within this part of both sides may be in pixels of a thumbnail
EXPORT = "export the annotations again (QuPath: File > Export objects as GeoJSON, as FeatureCollection)"


@dataclass(frozen=True)
class Annotation:
    """What a person drew on one slide.

    Attributes
    ----------
    path : Path
        The file.
    keep, cut : shapely geometry
        Areas that are tissue, and areas that are not; level-0 pixels. Without an area to keep, the automatic
        mask is cut.
    note : str
        What was read, for the status table.
    """

    path: Path
    keep: shapely.Geometry
    cut: shapely.Geometry
    note: str


def annotation_hash(path: str | Path) -> str:
    """Hash of an annotation's content, so that a changed one tiles its slide again."""
    return sha256_file(path)[:16]


def check_annotation(path: str | Path, size: tuple[int, int]) -> Annotation:
    """Read an annotation and compare it with its slide.

    Parameters
    ----------
    path : path-like
        GeoJSON: a FeatureCollection, a Feature, a list of features, or a geometry. Coordinates are level-0 pixels.
    size : tuple of int
        Width and height of the slide, level-0 pixels.

    Returns
    -------
    Annotation

    Raises
    ------
    InputError
        The file is missing, is no GeoJSON, holds no area, or reaches beyond the slide.
    """
    refuse_irregular(path, "annotation")
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError("this annotation does not exist", file=path, remedy="correct `masks`, or remove it") from None
    except (OSError, ValueError) as error:
        raise InputError(f"is not GeoJSON ({error})", file=path, remedy=EXPORT) from None
    keep: list[shapely.Geometry] = []
    cut: list[shapely.Geometry] = []
    names: Counter[tuple[str, str]] = Counter()
    passed: Counter[str] = Counter()
    repaired = 0
    for number, (name, kind, geometry) in enumerate(_features(data, path), start=1):
        if kind not in ("annotation", ""):
            passed[kind] += 1
            continue
        areas, mended = _areas(geometry, path, number)
        if not areas:
            passed["objects without an area"] += 1
            continue
        repaired += mended
        out = name.lower().rstrip("*").strip() in CUT
        (cut if out else keep).extend(areas)
        names["cut out" if out else "kept", name or "unclassified"] += 1
    if not names:
        seen = ", ".join(f"{n} {kind}" for kind, n in passed.items()) or "nothing"
        raise InputError(
            f"holds no annotation with an area ({seen})",
            file=path,
            remedy="draw polygons around the tissue and export them; without a mask remove the file",
        )
    kept, removed = shapely.union_all(keep), shapely.union_all(cut)
    _check_place(shapely.union_all([kept, removed]), size, path)
    said = ", ".join(f"{n} {verb} ({name})" for (verb, name), n in names.items())
    note = f"tissue mask by {Path(path).name}: {said}"
    if repaired:
        note += f"; {repaired} outlines cross themselves and were repaired"
    right, bottom = shapely.union_all([kept, removed]).bounds[2:]
    if right < size[0] / CORNER and bottom < size[1] / CORNER:
        note += "; it lies in the upper left corner alone: check that coordinates are pixels of the full resolution"
    if passed:
        note += "; passed over: " + ", ".join(f"{n} {kind}" for kind, n in passed.items())
    return Annotation(Path(path), kept, removed, note)


def apply_annotation(mask: TissueMask, drawn: Annotation, bounds: tuple[int, int, int, int]) -> TissueMask:
    """Replace the tissue of a mask by what a person drew, or cut it.

    Parameters
    ----------
    mask : TissueMask
        Found automatically.
    drawn : Annotation
    bounds : tuple of int
        x, y, width, height that the mask covers, level-0 pixels.
    """
    out = filled(drawn.cut, mask.tissue.shape, bounds)
    if drawn.keep.is_empty:
        tissue, pen = np.where(out, 0, mask.tissue).astype(mask.tissue.dtype), mask.pen
    else:  # a person's area is tissue, also where it was taken for pen
        tissue = (filled(drawn.keep, mask.tissue.shape, bounds) & ~out).astype(mask.tissue.dtype)
        pen = mask.pen & ~_at(tissue > 0, mask.pen.shape)
    note = drawn.note
    if bounds[:2] != (0, 0):
        note += "; its coordinates are pixels of the whole file, not of the scanned region"
    return replace(mask, tissue=tissue, pen=pen, note="; ".join(part for part in (note, mask.note) if part))


def filled(area: shapely.Geometry, shape: tuple[int, ...], bounds: tuple[int, int, int, int]) -> np.ndarray:
    """An area as pixels: those whose centre lies inside (even-odd rule).

    Parameters
    ----------
    area : shapely geometry
        Valid polygons that do not overlap, level-0 pixels.
    shape : tuple of int
        Rows and columns.
    bounds : tuple of int
        x, y, width, height that the pixels cover, level-0 pixels.

    Returns
    -------
    ndarray of bool, shape (h, w)
    """
    height, width = shape[:2]
    scale = np.array([width / bounds[2], height / bounds[3]])
    edges = np.zeros((height, width + 1), np.uint8)  # 1 where the inside begins or ends along a row
    for ring in (r for polygon in shapely.get_parts(area) for r in (polygon.exterior, *polygon.interiors)):
        x, y = ((shapely.get_coordinates(ring) - bounds[:2]) * scale).T
        first = np.clip(np.ceil(np.minimum(y[:-1], y[1:]) - 0.5), 0, height).astype(int)
        last = np.clip(np.ceil(np.maximum(y[:-1], y[1:]) - 0.5), 0, height).astype(int)
        edge = np.repeat(np.arange(len(first)), last - first)
        starts = np.cumsum(last - first) - (last - first)
        row = np.arange(len(edge)) - starts[edge] + first[edge]
        slope = (x[1:] - x[:-1])[edge] / (y[1:] - y[:-1])[edge]
        column = np.ceil(x[edge] + (row + 0.5 - y[edge]) * slope - 0.5)
        np.bitwise_xor.at(edges, (row, np.clip(column, 0, width).astype(int)), 1)
    return np.bitwise_xor.accumulate(edges, axis=1)[:, :width].astype(bool)


def _at(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A mask at another size."""
    if mask.shape == shape[:2]:
        return mask
    return cv2.resize(mask.astype(np.uint8), (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST).astype(bool)


def _features(data: Any, path: str | Path) -> Iterator[tuple[str, str, Any]]:
    """(class, kind of object, geometry) of everything in a GeoJSON."""
    if isinstance(data, list):
        for entry in data:
            yield from _features(entry, path)
    elif isinstance(data, dict) and data.get("type") == "FeatureCollection":
        yield from _features(data.get("features") or [], path)
    elif isinstance(data, dict) and data.get("type") == "Feature":
        properties = data.get("properties") or {}
        named = properties.get("classification") or {}
        name = named.get("name") or "" if isinstance(named, dict) else str(named)
        yield str(name), str(properties.get("objectType") or properties.get("object_type") or ""), data.get("geometry")
    elif isinstance(data, dict) and "type" in data:
        yield "", "", data
    else:
        raise InputError("is JSON, but not GeoJSON", file=path, remedy=EXPORT)


def _areas(geometry: Any, path: str | Path, number: int) -> tuple[list[shapely.Geometry], bool]:
    """Valid polygons of a geometry, and whether its outline was repaired."""
    try:
        shape = shapely.geometry.shape(geometry)
        if not np.isfinite(shapely.get_coordinates(shape)).all():
            raise ValueError("a coordinate is not a number")
        valid = shape if shape.is_valid else shapely.make_valid(shape)
    except (ShapelyError, AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"is not a geometry ({error})", file=path, row=f"feature {number}", remedy=EXPORT) from None
    parts: list[shapely.Geometry] = []
    stack = [valid]
    while stack:
        part = stack.pop()
        if part.geom_type == "Polygon":
            parts += [part] if part.area > 0 else []
        elif hasattr(part, "geoms"):
            stack += list(part.geoms)
    return parts, bool(parts) and not shape.is_valid


def _check_place(area: shapely.Geometry, size: tuple[int, int], path: str | Path) -> None:
    """Raise where an annotation does not lie on its slide."""
    left, top, right, bottom = area.bounds
    width, height = size
    slack_x, slack_y = SLACK * width, SLACK * height
    if left < -slack_x or top < -slack_y or right > width + slack_x or bottom > height + slack_y:
        raise InputError(
            f"reaches from ({left:.0f}, {top:.0f}) to ({right:.0f}, {bottom:.0f}), and the slide has "
            f"{width} x {height} px",
            file=path,
            remedy="check that it was drawn on this slide; coordinates are pixels of the full resolution",
        )
