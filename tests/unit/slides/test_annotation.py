"""Tissue masks drawn by a person: read, placed, applied; a changed one tiles its slide alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mirror.config.slides import SlideSettings
from mirror.core.errors import InputError
from mirror.doctor import check_slides
from mirror.io.tiles import read_tiles
from mirror.slides.tiling.shard import tile_shard
from mirror.slides.tiling.tile import tile_slide
from mirror.slides.tissue.annotation import check_annotation, filled

SETTINGS = SlideSettings(tile={"size_px": 64})
SIZE = (2048, 2048)


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(ring: list, name: str | None = None, **properties) -> dict:
    """One object as QuPath writes it."""
    properties = {"objectType": "annotation"} | properties
    if name:
        properties["classification"] = {"name": name, "color": [1, 2, 3]}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def write(path: Path, *features: dict) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}), encoding="utf-8")
    return path


def test_an_area_replaces_the_tissue_mask(tmp_path: Path, tissue_svs: Path):
    mask = write(tmp_path / "m.geojson", feature(box(0, 0, 1024, 512), "Tissue"))
    result = tile_slide(tissue_svs, "disc", tmp_path, SETTINGS, mask_path=mask)
    coords = read_tiles(tmp_path / "tiles" / "disc.h5").coords
    assert len(coords) == (1024 // 128) * (512 // 128), "glass of the corner included, the rest of the disc not"
    assert (coords[:, 0] < 1024).all() and (coords[:, 1] < 512).all()
    assert "tissue mask by m.geojson: 1 kept (Tissue)" in result.message
    assert result.tissue_fraction == pytest.approx(1 / 8, abs=0.01)


@pytest.mark.parametrize("name", ["Ignore*", "ignore", "Artifact", "Pen"])
def test_an_ignored_area_cuts_the_automatic_mask(tmp_path: Path, tissue_svs: Path, name: str):
    tile_slide(tissue_svs, "whole", tmp_path, SETTINGS)
    mask = write(tmp_path / "m.geojson", feature(box(0, 0, 1024, 2048), name))
    result = tile_slide(tissue_svs, "half", tmp_path, SETTINGS, mask_path=mask)
    whole, half = (read_tiles(tmp_path / "tiles" / f"{s}.h5").coords for s in ("whole", "half"))
    assert set(map(tuple, half)) == {tuple(c) for c in whole if c[0] >= 1024}
    assert f"1 cut out ({name})" in result.message


def test_contours_of_a_run_are_an_annotation_of_the_same_tiles(tmp_path: Path, tissue_svs: Path):
    tile_slide(tissue_svs, "a", tmp_path, SETTINGS)
    tile_slide(tissue_svs, "b", tmp_path, SETTINGS, mask_path=tmp_path / "contours" / "a.geojson")
    first, again = (read_tiles(tmp_path / "tiles" / f"{s}.h5").coords for s in "ab")
    assert np.array_equal(first, again)


def test_holes_multipolygons_lists_and_crossing_outlines(tmp_path: Path):
    ring = {"type": "Polygon", "coordinates": [box(0, 0, 1000, 1000), box(200, 200, 800, 800)]}
    two = {"type": "MultiPolygon", "coordinates": [[box(1200, 0, 1400, 200)], [box(1200, 400, 1400, 600)]]}
    bow = [[1500, 1500], [1700, 1700], [1700, 1500], [1500, 1700], [1500, 1500]]
    plain = [
        {"type": "Feature", "geometry": ring, "properties": {}},
        two,
        feature(bow),
        feature(box(0, 0, 9, 9), "c", objectType="detection"),
    ]
    (tmp_path / "m.json").write_text(json.dumps(plain))
    drawn = check_annotation(tmp_path / "m.json", SIZE)
    assert drawn.keep.area == pytest.approx(1000**2 - 600**2 + 2 * 200**2 + 2 * 100**2)
    assert "cross themselves and were repaired" in drawn.note and "passed over: 1 detection" in drawn.note
    pixels = filled(drawn.keep, (512, 512), (0, 0, *SIZE))
    assert pixels.sum() * 16 == pytest.approx(drawn.keep.area, rel=0.03)
    assert not pixels[125, 125] and pixels[25, 25] and pixels[120, 325]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not GeoJSON"),
        ('{"a": 1}', "is JSON, but not GeoJSON"),
        ('{"type": "FeatureCollection", "features": []}', "holds no annotation with an area (nothing)"),
        ('{"type": "Point", "coordinates": [1, 2]}', "1 objects without an area"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, "x"], [2, 2], [0, 0]]]}', "feature 1): is not a geometry"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 1], [2, 2], [0, 0]]]}', "a coordinate is not a number"),
        ('{"type": "Feature", "geometry": null, "properties": null}', "is not a geometry"),
        (json.dumps(feature(box(0, 0, 5000, 1000))), "to (5000, 1000), and the slide has 2048 x 2048 px"),
        (json.dumps(feature(box(-500, 0, 100, 100))), "reaches from (-500, 0)"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said(tmp_path: Path, text: str, said: str):
    (tmp_path / "m.geojson").write_text(text)
    with pytest.raises(InputError) as caught:
        check_annotation(tmp_path / "m.geojson", SIZE)
    assert said in str(caught.value) and caught.value.remedy


def test_thumbnail_coordinates_are_pointed_out(tmp_path: Path):
    drawn = check_annotation(write(tmp_path / "m.geojson", feature(box(10, 10, 150, 150))), SIZE)
    assert "upper left corner alone" in drawn.note


@pytest.mark.fault(
    stage="slides",
    fault="a tissue mask that is no GeoJSON, holds no area, or lies outside its slide",
    sees="the row of the slide: the mask's file and how to export it; `doctor` says it before",
    survives="every other slide",
)
def test_a_bad_mask_fails_its_slide_alone_and_doctor_says_it(tmp_path: Path, tissue_svs: Path):
    bad = write(tmp_path / "bad.geojson")
    rows = [
        {"slide_id": name, "patient_id": name, "slide_path": str(tissue_svs), "mpp": None} for name in ("good", "bad")
    ]
    rows[1]["mask"] = str(bad)
    table = tile_shard(rows, SETTINGS, tmp_path, tmp_path / "s.tsv").set_index("slide_id")
    assert table["status"].to_dict() == {"good": "ok", "bad": "failed"}
    assert "bad.geojson: holds no annotation" in table.loc["bad", "message"]
    found = [f for f in check_slides("C", rows) if f.what == "C: bad"]
    assert [f.state for f in found] == ["problem"] and "draw polygons" in found[0].remedy


def test_a_changed_mask_tiles_its_slide_alone(tmp_path: Path, tissue_svs: Path):
    mask = write(tmp_path / "m.geojson", feature(box(0, 0, 1024, 1024)))
    rows = [{"slide_id": n, "patient_id": n, "slide_path": str(tissue_svs), "mpp": None} for n in ("a", "b")]
    rows[1]["mask"] = str(mask)
    tile_shard(rows, SETTINGS, tmp_path, tmp_path / "s.tsv")
    files = [tmp_path / "tiles" / f"{n}.h5" for n in ("a", "b")]
    for file in files:
        os.utime(file, ns=(1, 1))
    tile_shard(rows, SETTINGS, tmp_path, tmp_path / "s.tsv")
    assert [f.stat().st_mtime_ns for f in files] == [1, 1]
    before = read_tiles(files[1]).info["settings_hash"]
    write(mask, feature(box(0, 0, 1024, 512)))
    tile_shard(rows, SETTINGS, tmp_path, tmp_path / "s.tsv")
    assert files[0].stat().st_mtime_ns == 1 != files[1].stat().st_mtime_ns
    assert read_tiles(files[1]).info["settings_hash"] != before, "features are made again: their hash has this one"
