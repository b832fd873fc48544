"""Resolution is compared over its sources, with the glass, and with the tiles; OME-TIFF and DICOM say theirs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.config.slides import SlideSettings
from mirror.core.errors import InputError
from mirror.doctor import check_slides
from mirror.slides.reading.mpp import check_scale, resolve_mpp
from mirror.slides.reading.ome import read_ome
from mirror.slides.reading.open import open_slide
from mirror.slides.reading.tiff_slide import TiffSlide
from mirror.slides.tiling import tile as tile_module
from mirror.slides.tiling.facts import slide_facts
from mirror.slides.tiling.grid import tile_grid
from mirror.slides.tiling.shard import tile_shard
from mirror.slides.tiling.tile import tile_slide
from slide_drawing import draw_tissue, write_svs

TILED = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib"}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return draw_tissue(1024)


def tags(um: float) -> dict:
    return {"resolution": (10_000 / um, 10_000 / um), "resolutionunit": 3}


FACTOR = {2.0: "20x against 40x", 2.54: "per inch against per centimetre", 10.0: "per millimetre against"}


@pytest.mark.fault(
    stage="slides",
    fault="mpp of the slide table and of the file differ by 2, 2.54 or 10",
    sees="a warning with both values and what the factor usually means; with resolution_conflict: fail a failed row",
    survives="the slide, read at the table's value",
)
@pytest.mark.parametrize("factor", FACTOR)
def test_table_against_file(tmp_path: Path, image: np.ndarray, factor: float):
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, image, **TILED, **tags(0.25))
    table = 0.25 * factor if factor < 10 else 0.25 / 4
    if factor == 10.0:
        tifffile.imwrite(path, image, **TILED, **tags(0.625))
    result = tile_slide(path, "s", tmp_path / "out", SlideSettings(tile={"size_px": 64}), table)
    assert result.mpp == table and "differs from" in result.message and FACTOR[factor] in result.message
    strict = SlideSettings(tile={"size_px": 64}, resolution_conflict="fail")
    with pytest.raises(InputError, match="differs from"):
        tile_slide(path, "s", tmp_path / "strict", strict, table)


@pytest.mark.fault(
    stage="slides",
    fault="the description's MPP and the TIFF resolution of one file differ by 2, 2.54 or 10",
    sees="the row of the slide: both values; the column mpp decides, or resolution_conflict: warn",
    survives="every other slide",
)
@pytest.mark.parametrize("factor", FACTOR)
@pytest.mark.parametrize("vendor", ["aperio", "generic"])
def test_a_file_that_contradicts_itself_asks(tmp_path: Path, image: np.ndarray, factor: float, vendor: str):
    path = tmp_path / "s.svs"
    if vendor == "aperio":
        write_svs(path, image, (), 0.25, **tags(0.25 * factor))
    else:
        path = tmp_path / "s.tif"
        text = "some converter|AppMag = 40|MPP = 0.25"
        tifffile.imwrite(path, image, description=text, metadata=None, **TILED, **tags(0.25 * factor))
    used = SlideSettings(tile={"size_px": 64})
    with pytest.raises(InputError, match=f"contradicts itself.*{FACTOR[factor]}.*column `mpp`"):
        tile_slide(path, "s", tmp_path / "out", used)
    assert tile_slide(path, "s", tmp_path / "out", used, 0.25).status == "ok"
    warned = tile_slide(path, "s", tmp_path / "warn", used.model_copy(update={"resolution_conflict": "warn"}))
    assert warned.mpp == 0.25 and "differs from" in warned.message


@pytest.mark.fault(
    stage="slides",
    fault="a resolution at which the scan is larger than a glass slide; a slide coarser than the tiles",
    sees="a warning with the size in mm and the factor at which it fits; tiles are enlarged so many times",
    survives="the slide; slides.whole_mount allows 76 x 51 mm",
)
def test_the_scan_must_fit_on_the_glass():
    huge = check_scale(2.5, (65_536, 32_768), 0.5, False, "warn", "s")
    assert "164 x 82 mm" in huge[0] and "at 0.25 um/px it would fit (a factor of 10" in huge[0]
    assert "enlarged 5 times" in huge[1]
    assert check_scale(0.25, (240_000, 100_000), 0.5, False, "warn", "s") == []
    assert check_scale(0.25, (100_000, 240_000), 0.5, False, "warn", "s") == []
    whole = (240_000, 190_000)  # 60 x 47.5 mm
    assert "more than a glass slide" in check_scale(0.25, whole, 0.5, False, "warn", "s")[0]
    assert check_scale(0.25, whole, 0.5, True, "warn", "s") == []
    with pytest.raises(InputError, match="more than a glass slide"):
        check_scale(0.25, whole, 0.5, False, "fail", "s")
    assert check_scale(0.549, (1000, 1000), 0.5, False, "warn", "s") == []


def test_doctor_facts_and_table_say_the_same(tmp_path: Path, image: np.ndarray):
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, image, **TILED, **tags(1.0))
    row = {"slide_id": "s", "patient_id": "p", "slide_path": str(path), "mpp": 2.0}
    table = tile_shard([row], SlideSettings(tile={"size_px": 64}), tmp_path / "out", tmp_path / "s.tsv")
    found = [f for f in check_slides("C", [row], {"tile": {"size_px": 64}}) if f.what == "C: s"]
    facts = slide_facts(table, "C")
    for text in (table["message"][0], found[0].detail, facts.table()):
        assert "mpp 2 of the sample table differs from 1 of the TIFF resolution" in text
        assert "enlarged 4 times" in text
    assert found[0].state == "warning" and facts.worst == "warning"
    assert facts.get("resolution") == "2 um/px (1 slides)"


def test_tiles_of_two_scales_are_said(tmp_path: Path, image: np.ndarray):
    """Tiles of a slide too coarse for the grid's rounding are not those of the others."""
    tifffile.imwrite(tmp_path / "a.tif", image, **TILED, **tags(0.25))
    row = {"slide_id": "a", "patient_id": "p", "slide_path": str(tmp_path / "a.tif")}
    one = tile_shard([row], SlideSettings(tile={"size_px": 64}), tmp_path / "o", tmp_path / "a.tsv")
    two = tile_shard(
        [row | {"slide_id": "b"}], SlideSettings(tile={"size_px": 128}), tmp_path / "o", tmp_path / "b.tsv"
    )
    facts = slide_facts(pd.concat([one, two], ignore_index=True), "C")
    assert "tiles differ in size by a factor of 2" in " ".join(f.text() for f in facts.warnings)
    assert "differ in size" not in slide_facts(one, "C").table()


# ------------------------------------------------------------------------------------------- OME-TIFF


def write_ome(path: Path, image: np.ndarray, um: float = 0.25, unit: str = "µm", **metadata) -> Path:
    """A pyramid with levels 4 and 16 in SubIFDs, as Bio-Formats and QuPath write."""
    size = {"axes": "YXS", "PhysicalSizeX": um, "PhysicalSizeXUnit": unit} | metadata
    size |= {"PhysicalSizeY": size["PhysicalSizeX"], "PhysicalSizeYUnit": unit}
    with tifffile.TiffWriter(path) as tif:
        tif.write(image, subifds=2, metadata=size, **TILED)
        for factor in (4, 16):
            small = cv2.resize(
                image, (image.shape[1] // factor, image.shape[0] // factor), interpolation=cv2.INTER_AREA
            )
            tif.write(small, subfiletype=1, **TILED)
    return path


def test_an_ome_pyramid_is_read_with_its_levels_and_resolution(tmp_path: Path, image: np.ndarray):
    path = write_ome(tmp_path / "s.ome.tif", image)
    with open_slide(path) as slide:
        assert isinstance(slide, TiffSlide) and slide.downsamples == (1.0, 4.0, 16.0)
        np.testing.assert_array_equal(slide.read(0, 300, 100, 700, 400), image[100:500, 300:1000])
        beyond = slide.read(0, -10, 1000, 40, 40)
        assert (beyond[:, :10] == 255).all() and (beyond[24:] == 255).all()
        small = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(slide.read(1, 0, 0, 256, 256), small)
    result = tile_slide(path, "s", tmp_path / "out", SlideSettings(tile={"size_px": 64}))
    assert (result.status, result.mpp, result.mpp_source, result.message) == ("ok", 0.25, "slide", "")


@pytest.mark.parametrize(("um", "unit"), [(250, "nm"), (0.00025, "mm"), (0.25, "um"), (0.25, "μm"), (2500, "Å")])
def test_units_of_the_ome_xml(tmp_path: Path, image: np.ndarray, um: float, unit: str):
    path = write_ome(tmp_path / "s.ome.tif", image, um, unit)
    with open_slide(path) as slide:
        assert resolve_mpp(slide.properties, None, path).value == pytest.approx(0.25)


def test_an_ome_unit_that_is_no_length_is_said(tmp_path: Path, image: np.ndarray):
    path = write_ome(tmp_path / "s.ome.tif", image, 1, "pixel")
    with open_slide(path) as slide:
        assert "no length" in " ".join(slide.notes)
        with pytest.raises(InputError, match="resolution unknown"):
            resolve_mpp(slide.properties, None, path)


def test_planes_and_channels_of_an_ome_tiff_are_refused(tmp_path: Path, image: np.ndarray):
    stack = np.stack([image[:512, :512]] * 3)
    tifffile.imwrite(tmp_path / "z.ome.tif", stack, metadata={"axes": "ZYXS"}, **TILED)
    channels = np.moveaxis(image[:512, :512], -1, 0)
    keys = TILED | {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "c.ome.tif", channels, metadata={"axes": "CYX"}, **keys)
    with pytest.raises(InputError, match=r"3 planes|3 pictures"):
        open_slide(tmp_path / "z.ome.tif")
    with pytest.raises(InputError, match=r"3 channels|3 pictures"):
        open_slide(tmp_path / "c.ome.tif")


def test_an_xml_bomb_is_not_read():
    bomb = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">]><OME><Pixels SizeX="1" SizeY="1"/></OME>'
    found = read_ome(bomb, 1, 1)
    assert found is not None and found.mpp_x is None and "not read" in found.notes[0]


def test_the_real_ome_tiff(test_data: Path, tmp_path: Path):
    path = test_data / "slides" / "qupath_OS-1-detail.ome.tif"
    result = tile_slide(path, "s", tmp_path, SlideSettings())
    assert result.status == "ok" and result.mpp == pytest.approx(0.2271, abs=1e-4) and result.mpp_source == "slide"
    with open_slide(path) as slide, tifffile.TiffFile(path) as tif:
        np.testing.assert_array_equal(slide.read(0, 0, 0, 1101, 1101), tif.pages.first.asarray())


@pytest.mark.fault(
    stage="slides",
    fault="a file that claims 100,000 x 80,000 px at 2.5 um/px (250 x 200 mm)",
    sees="warnings: larger than a glass slide, tissue found at a coarser resolution",
    survives="the slide, within the memory of the job",
)
def test_memory_is_bounded_whatever_area_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Overview and mask stay below a fixed number of pixels; the limit is lowered here for speed."""
    piece = np.dstack([draw_tissue(1024), np.zeros((1024, 1024), np.uint8)])

    def tiles():
        for y in range(79):
            for x in range(98):
                yield piece if x == y == 0 or (x, y) == (50, 50) else None

    path = tmp_path / "claims.tif"
    extra, wide = {"extrasamples": ["unspecified"]}, TILED | {"tile": (1024, 1024)}
    tifffile.imwrite(path, tiles(), shape=(80_896, 100_352, 4), dtype=np.uint8, **wide, **extra, **tags(2.5))
    for limit in ("MASK_PIXELS", "DOUBTED_PIXELS"):
        monkeypatch.setattr(tile_module, limit, 400_000)
    used = SlideSettings(tile={"size_px": 1024}, tissue={"min_tissue_fraction": 0.001, "min_object_um2": 0})
    with open_slide(path) as slide:
        picture, mask = tile_module.find_tissue(slide, 2.5, used)
    assert picture.shape[0] * picture.shape[1] <= 401_000 and mask.tissue.size <= 401_000
    result = tile_slide(path, "s", tmp_path / "out", used)
    assert "251 x 202 mm, more than a glass slide" in result.message
    assert "the claimed area is too large" in result.message


@pytest.mark.parametrize("fourth", [False, True])
def test_tiles_that_are_not_stored_cost_nothing(tmp_path: Path, fourth: bool):
    """A sparse file is read by its stored tiles alone, white elsewhere, whoever opens it."""
    piece = draw_tissue(512)
    piece = np.dstack([piece, np.zeros((512, 512), np.uint8)]) if fourth else piece

    def tiles():
        for y in range(24):
            for x in range(32):
                yield piece if (x, y) in ((0, 0), (21, 20)) else None

    path, how = tmp_path / "sparse.tif", TILED | {"tile": (512, 512)} | tags(2.5)
    how |= {"extrasamples": ["unspecified"]} if fourth else {}
    tifffile.imwrite(path, tiles(), shape=(12_288, 16_384, 4 if fourth else 3), dtype=np.uint8, **how)
    used = SlideSettings(tissue={"min_object_um2": 0})
    with open_slide(path) as slide:
        assert isinstance(slide, TiffSlide)
        tiled = tile_module.tiles_of(slide, "s", used)
        assert "more than a glass slide" in tiled.result.message and tiled.result.n_tiles
        assert tiled.mask.tissue.size <= tile_module.DOUBTED_PIXELS
        assert (slide.read(0, 600, 600, 64, 64) == 255).all()
        np.testing.assert_array_equal(slide.read(0, 21 * 512, 20 * 512, 512, 512), piece[..., :3])


def test_a_grid_of_too_many_tiles_is_refused():
    with pytest.raises(InputError, match=r"would be [\d,]+ tiles"):
        tile_grid((0, 0, 1_000_000, 1_000_000), 4.0, SlideSettings(tile={"size_px": 32, "mpp": 0.05}).tile)


# --------------------------------------------------------------------------------------------- fuzz


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(true=st.sampled_from([0.25, 0.5]), factor=st.sampled_from([1.0, 1.05, 0.5, 2.0, 2.54, 0.1, 3.0]),
       lie=st.sampled_from(["table", "tags", "ome"]), other=st.sampled_from(["tags", "ome"]))  # fmt: skip
def test_a_lie_about_resolution_is_named_or_changes_nothing(
    tmp_path: Path, true: float, factor: float, lie: str, other: str
):
    """A valid file with two sources, one of them wrong by a factor."""
    small = draw_tissue(256)
    path, table = tmp_path / "s.ome.tif", None
    said = {"tags": true, "ome": true}
    if lie == "table":
        table = true * factor
        said.pop("tags" if other == "ome" else "ome")
    else:
        said[lie] *= factor
    size = (
        {"PhysicalSizeX": said["ome"], "PhysicalSizeY": said["ome"], "PhysicalSizeXUnit": "µm"} if "ome" in said else {}
    )
    extra = tags(said["tags"]) if "tags" in said else {}
    tifffile.imwrite(path, small, metadata={"axes": "YXS"} | size, **TILED, **extra)
    with open_slide(path) as slide:
        try:
            found = resolve_mpp(slide.properties, table, path, "ask")
        except InputError as error:
            assert factor not in (1.0, 1.05) and ("contradicts" in str(error) or "outside" in str(error))
            return
    right = true if table is None else table
    if (found.note.startswith("mpp") and "taken from" in found.note) or not found.note:
        # Nothing was said: then the value is right, or the lie lay outside what a microscope has and was dropped.
        assert found.value == pytest.approx(right if table else true, rel=0.1)
        assert table is None or table == pytest.approx(true, rel=0.1)
    else:
        assert "differs from" in found.note or "outside" in found.note
