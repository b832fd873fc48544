"""Slides that are built otherwise: bounds, few levels, companions, resolutions that differ by axis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest

from mirror.config.slides import SlideSettings
from mirror.core.errors import InputError
from mirror.io.tiles import read_tiles
from mirror.slides.reading.fingerprint import fingerprint
from mirror.slides.reading.iterate import iterate_tiles
from mirror.slides.reading.mpp import resolve_mpp
from mirror.slides.tiling.tile import tile_slide
from slide_drawing import draw_tissue, write_svs


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio, dB."""
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9)))


def tiles_of(path: Path, coords: np.ndarray, size: int, out_px: int, backend: str) -> np.ndarray:
    out = np.empty((len(coords), out_px, out_px, 3), np.uint8)
    for rows, tiles in iterate_tiles(path, coords, size, out_px, backend=backend):
        out[rows] = tiles
    return out


def truth(path: Path, coords: np.ndarray, size: int, out_px: int) -> np.ndarray:
    """OpenSlide's level-0 pixels, resampled by area."""
    with openslide.OpenSlide(path) as handle:
        return np.stack([
            cv2.resize(np.asarray(handle.read_region((int(x), int(y)), 0, (size, size)).convert("RGB")),
                       (out_px, out_px), interpolation=cv2.INTER_AREA)
            for x, y in coords
        ])  # fmt: skip


@pytest.mark.parametrize("preset", [None, "published"])
def test_tiles_lie_within_the_bounds_that_a_slide_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str | None
):
    """As in MIRAX: the scan is a part of the canvas; coordinates count from the canvas's corner."""
    x, y, side = 900, 700, 1536
    image = np.zeros((3000, 3000, 3), np.uint8)  # black outside, as MIRAX has it
    image[y : y + side, x : x + side] = draw_tissue(side)
    path = write_svs(tmp_path / "x.svs", image)
    stated = {"bounds-x": x, "bounds-y": y, "bounds-width": side, "bounds-height": side}

    class Bounded(openslide.OpenSlide):
        @property
        def properties(self):
            return {**super().properties, **{f"openslide.{k}": str(v) for k, v in stated.items()}}

    monkeypatch.setattr(openslide, "OpenSlide", Bounded)
    settings = {"preset": preset} if preset else {"tile": {"size_px": 64}}
    result = tile_slide(path, "x", tmp_path, SlideSettings(**settings))
    table = read_tiles(tmp_path / "tiles" / "x.h5")
    size = table.grid["patch_size_level0"]
    assert result.status == "ok" and len(table) > 0
    reach = size if preset else 0  # the published grid is padded with white on all sides
    assert (table.coords >= (x - reach, y - reach)).all()
    assert (table.coords + size <= (x + side + reach, y + side + reach)).all()
    if not preset:
        # The grid starts at the scan's corner, and the disc in its middle is what is kept.
        assert ((table.coords - (x, y)) % size == 0).all()
        middle = table.coords.mean(0) + size / 2
        np.testing.assert_allclose(middle, (x + side / 2, y + side / 2), atol=size / 2)


@pytest.mark.parametrize("backend", ["auto", "openslide"])
@pytest.mark.parametrize("out_px", [256, 128])
def test_levels_of_1_4_16_give_the_pixels_of_level_0(tmp_path: Path, backend: str, out_px: int):
    """At a quarter (a level of its own) and an eighth (between two levels)."""
    path = write_svs(tmp_path / "l.svs", draw_tissue(4096), (4, 16))
    with openslide.OpenSlide(path) as handle:
        assert [round(d) for d in handle.level_downsamples] == [1, 4, 16]
    coords = np.stack(np.meshgrid([512, 1536, 2048], [1024, 2048]), -1).reshape(-1, 2)
    want = truth(path, coords, 1024, out_px)
    found = tiles_of(path, coords, 1024, out_px, backend)
    # A level of its own is a JPEG of its own, whose noise no averaging of level 0 has taken out.
    assert min(psnr(a, b) for a, b in zip(found, want, strict=True)) >= (34 if out_px == 256 else 35)
    assert psnr(found, tiles_of(path, coords, 1024, out_px, "openslide")) >= 40
    # Not the coarser level blown up: the nuclei's edges are there.
    edges = [cv2.Laplacian(cv2.cvtColor(t, cv2.COLOR_RGB2GRAY), cv2.CV_64F).std() for t in (found[3], want[3])]
    assert edges[0] == pytest.approx(edges[1], rel=0.15)


@pytest.mark.parametrize(
    ("size", "out_px", "least", "pooled"), [(256, 256, 40, 40), (508, 224, 31, 35), (600, 224, 31, 35)]
)
def test_every_single_tile_of_the_real_slide_is_close(
    test_data: Path, size: int, out_px: int, least: float, pooled: float
):
    """Reduced, sharp tiles part by the two resamplings: few fall below 35 dB, none below 31."""
    path = test_data / "slides" / "CMU-1-Small-Region.svs"
    with openslide.OpenSlide(path) as handle:
        width, height = handle.dimensions
    xs, ys = np.arange(0, width - size, size), np.arange(0, height - size, size)
    coords = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
    want, found = truth(path, coords, size, out_px), tiles_of(path, coords, size, out_px, "auto")
    each = [psnr(a, b) for a, b in zip(found, want, strict=True)]
    assert min(each) >= least and psnr(found, want) >= pooled


@pytest.mark.parametrize(
    ("x", "y", "taken"), [("0.25", "0.262", True), ("0.25", "0.264", False), ("0.264", "0.25", False)]
)
def test_axes_may_differ_by_five_percent(x: str, y: str, taken: bool):
    properties = {"openslide.mpp-x": x, "openslide.mpp-y": y}
    if taken:
        assert resolve_mpp(properties, None, "s").value == pytest.approx((float(x) + float(y)) / 2, rel=0.03)
    else:
        with pytest.raises(InputError, match="column `mpp`"):
            resolve_mpp(properties, None, "s")


def test_a_mirax_slide_is_known_by_its_companions(tmp_path: Path):
    """The .mrxs is a thumbnail; a scan replaced in the folder beside it is another slide, also of the same size."""
    path, folder = tmp_path / "a.mrxs", tmp_path / "a"
    path.write_bytes(b"thumbnail")
    folder.mkdir()
    (folder / "Data0000.dat").write_bytes(b"1" * 5000)
    (folder / "Slidedat.ini").write_text("SLIDE_ID = 1")
    first = fingerprint(path)
    (folder / "notes.txt").write_text("of no matter")
    assert fingerprint(path) == first
    seen = {first}
    for name, content in (("Data0000.dat", b"2" * 5000), ("Data0001.dat", b"1"), ("Slidedat.ini", b"SLIDE_ID = 2")):
        (folder / name).write_bytes(content)
        seen.add(fingerprint(path))
    assert len(seen) == 4


READ_ALL = """
import resource, sys
import numpy as np
from mirror.slides.reading.iterate import iterate_tiles
path, side, backend = sys.argv[1], int(sys.argv[2]), sys.argv[3]
starts = np.arange(0, side, 500)
coords = np.stack(np.meshgrid(starts, starts), -1).reshape(-1, 2)
n = sum(len(rows) for rows, tiles in iterate_tiles(path, coords, 500, 224, backend=backend))
assert n == len(coords)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.fixture(scope="module")
def two_sizes(tmp_path_factory) -> dict[int, Path]:
    """Slides of 16 and 144 million pixels."""
    folder, tile = tmp_path_factory.mktemp("sizes"), draw_tissue(2000)
    return {side: write_svs(folder / f"{side}.svs", np.tile(tile, (side // 2000, side // 2000, 1)))
            for side in (4000, 12_000)}  # fmt: skip


@pytest.mark.parametrize("backend", ["auto", "openslide"])
def test_memory_does_not_grow_with_the_slide(two_sizes: dict[int, Path], root: Path, backend: str):
    """Nine times the pixels (432 MB as RGB), and less than 60 MB more at the peak of the process."""
    peaks = {}
    for side, path in two_sizes.items():
        done = subprocess.run(
            [sys.executable, "-c", READ_ALL, str(path), str(side), backend],
            capture_output=True, text=True, env={"PYTHONPATH": str(root / "workflow" / "scripts"), "PATH": "/usr/bin"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        peaks[side] = float(done.stdout)
    assert peaks[12_000] - peaks[4000] < 60, peaks
