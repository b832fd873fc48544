"""One slide's outputs: tiles, contours, thumbnail; a shard in threads; the benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mirror.config.slides import SlideSettings
from mirror.io.tiles import read_tiles
from mirror.slides.reading.fingerprint import fingerprint
from mirror.slides.tiling.shard import tile_shard
from mirror.slides.tiling.tile import tile_slide
from slide_drawing import draw_tissue, write_svs


def test_tiles_lie_on_the_tissue_and_carry_tridents_attributes(tmp_path: Path, tissue_svs: Path):
    result = tile_slide(tissue_svs, "disc", tmp_path, SlideSettings(tile={"size_px": 64}))
    table = read_tiles(tmp_path / "tiles" / "disc.h5")
    assert (result.status, result.n_tiles) == ("ok", len(table))
    assert table.coords.dtype == np.int64 and table.grid["patch_size_level0"] == 128
    centre = np.hypot(*(table.coords + 64 - 1024).T)
    assert centre.max() < 0.36 * 2048 + 91 and len(table) >= 0.9 * np.pi * (0.36 * 2048) ** 2 / 128**2
    assert (table.tissue_fraction >= 0.25).all() and (table.pen_fraction <= 0.2).all()
    names = {"patch_size", "patch_size_level0", "level0_magnification", "target_magnification", "overlap"}
    assert names | {"name", "savetodir", "level0_width", "level0_height"} == set(table.grid)
    assert (table.grid["level0_magnification"], table.grid["target_magnification"]) == (40, 20)
    with h5py.File(tmp_path / "tiles" / "disc.h5") as file:
        assert file.attrs["complete"] and file.attrs["fingerprint"] == fingerprint(tissue_svs)
        assert json.loads(file.attrs["settings"])["tile"]["size_px"] == 64


def test_tile_size_agrees_with_trident_on_the_real_slide(tmp_path: Path, test_data: Path):
    tile_slide(test_data / "slides" / "CMU-1-Small-Region.svs", "cmu", tmp_path, SlideSettings())
    ours = read_tiles(tmp_path / "tiles" / "cmu.h5")
    (theirs,) = (test_data / "trident").rglob("patches/*.h5")
    with h5py.File(theirs) as file:
        for key in ("patch_size", "patch_size_level0", "level0_magnification", "target_magnification", "overlap"):
            assert ours.grid[key] == file["coords"].attrs[key]
        theirs_xy = set(map(tuple, file["coords"][:].tolist()))
    shared = theirs_xy & set(map(tuple, ours.coords.tolist()))
    assert len(shared) >= 0.9 * len(ours)  # we keep fewer: they keep any tile that touches tissue


def test_contours_are_closed_polygons_that_qupath_classifies(tmp_path: Path, tissue_svs: Path):
    result = tile_slide(tissue_svs, "disc", tmp_path, SlideSettings())
    shapes = json.loads((tmp_path / "contours" / "disc.geojson").read_text())
    assert shapes["type"] == "FeatureCollection" and len(shapes["features"]) == 1
    feature = shapes["features"][0]
    assert feature["properties"]["objectType"] == "annotation"
    assert feature["properties"]["classification"]["name"] == "Tissue"
    ring = np.array(feature["geometry"]["coordinates"][0])
    assert feature["geometry"]["type"] == "Polygon" and (ring[0] == ring[-1]).all()
    x, y = ring.T
    area = abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2
    assert area == pytest.approx(result.tissue_fraction * 2048**2, rel=1e-4)
    assert area == pytest.approx(np.pi * (0.36 * 2048) ** 2, rel=0.1)


def test_thumbnail_is_a_picture_of_the_asked_size(tmp_path: Path, tissue_svs: Path):
    tile_slide(tissue_svs, "disc", tmp_path, SlideSettings(thumbnail_px=300))
    with Image.open(tmp_path / "qc" / "disc.jpg") as picture:
        assert picture.format == "JPEG" and max(picture.size) == 300


def test_same_input_same_bytes(tmp_path: Path, tissue_svs: Path):
    for name in ("a", "b"):
        tile_slide(tissue_svs, "disc", tmp_path / name, SlideSettings())
    for file in ("contours/disc.geojson", "qc/disc.jpg"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_published_preset_pads_and_uses_everything_where_nothing_is_found(tmp_path: Path):
    path = write_svs(tmp_path / "glass.svs", np.full((1300, 1100, 3), 243, np.uint8), mpp=0.5)
    result = tile_slide(path, "glass", tmp_path, SlideSettings(preset="published"))
    table = read_tiles(tmp_path / "tiles" / "glass.h5")
    assert (result.status, len(table)) == ("ok", 9)
    assert table.coords.min() < 0 and table.grid["patch_size"] == 512


def test_mixed_magnifications_see_the_same_tissue(tmp_path: Path):
    image = draw_tissue(2048)
    forty = write_svs(tmp_path / "forty.svs", image, mpp=0.25)
    twenty = write_svs(tmp_path / "twenty.svs", image[::2, ::2].copy(), (), mpp=0.5)
    tables = []
    for path in (forty, twenty):
        tile_slide(path, path.stem, tmp_path, SlideSettings(tile={"size_px": 64}))
        tables.append(read_tiles(tmp_path / "tiles" / f"{path.stem}.h5"))
    a = set(map(tuple, (tables[0].coords // 2).tolist()))
    b = set(map(tuple, tables[1].coords.tolist()))
    assert len(a & b) >= 0.95 * len(a | b)


def test_one_thread_and_many_write_the_same_table(tmp_path: Path, tissue_svs: Path):
    rows = [
        {"slide_id": f"s{i}", "patient_id": "p", "slide_path": str(tissue_svs), "mpp": 0.25 + i / 500} for i in range(4)
    ]
    one = tile_shard(rows, SlideSettings(), tmp_path / "one", tmp_path / "one.tsv", threads=1)
    many = tile_shard(rows, SlideSettings(), tmp_path / "many", tmp_path / "many.tsv", threads=4)
    pd.testing.assert_frame_equal(one, many)


def test_benchmark_prints_the_promised_json(tissue_svs: Path, root: Path):
    command = [sys.executable, str(root / "benchmarks" / "slide_reading.py"), str(tissue_svs), "--rounds", "1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    last = json.loads(done.stdout.splitlines()[-1])
    keys = {
        "tiles",
        "tiles_per_s",
        "tiles_per_s_1",
        "turbo_tiles_per_s",
        "openslide_tiles_per_s",
        "peak_mb",
        "tiling_s",
    }
    assert set(last) == keys and all(value > 0 for value in last.values())
