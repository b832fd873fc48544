"""Which pixels of a file are the slide: their type, a fourth channel, the right picture of several."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from mirror.config.slides import SlideSettings
from mirror.core.errors import InputError
from mirror.io.tiles import read_tiles
from mirror.slides.reading.formats import check_czi
from mirror.slides.reading.open import check_extent, open_slide
from mirror.slides.reading.plain_slide import PNG_MAGIC
from mirror.slides.reading.tiff_slide import TiffSlide
from mirror.slides.tiling.shard import tile_shard
from mirror.slides.tiling.tile import tile_slide
from slide_drawing import draw_tissue

TILED = {"tile": (256, 256), "photometric": "rgb", "resolution": (40_000, 40_000), "resolutionunit": 3}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return draw_tissue(1024)


def write(path: Path, image: np.ndarray, **options) -> Path:
    tifffile.imwrite(path, image, **({"compression": "zlib"} | TILED | options))
    return path


def tile(path: Path, tmp_path: Path, **settings):
    return tile_slide(path, "s", tmp_path / "out", SlideSettings(**settings))


@pytest.mark.fault(
    stage="slides",
    fault="pixels of 12 bits in 16, 15 in 16, 16 bits, signed 8 bits or floating point; tiled, in strips, as PNG",
    sees="the row of the slide: the type that was found",
    survives="every other slide",
)
@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("12 in 16", "16-bit unsigned integer"),
        ("15 in 16", "16-bit unsigned integer"),
        ("16", "16-bit unsigned integer"),
        ("int8", "8-bit signed integer"),
        ("float", "32-bit floating point"),
    ],
)
def test_only_8_bit_pixels_are_pixels(tmp_path: Path, image: np.ndarray, tiled: bool, kind: str, words: str):
    wide = image.astype(np.uint16)
    pixels = {
        "12 in 16": wide << 4, "15 in 16": wide << 7, "16": wide * 257, "int8": (image >> 1).astype(np.int8),
        "float": (image / 255).astype(np.float32),
    }[kind]  # fmt: skip
    path = write(tmp_path / "deep.tif", pixels, **({} if tiled else {"tile": None}))
    with pytest.raises(InputError, match=f"pixels of type {words}, not 8-bit unsigned integer"):
        tile(path, tmp_path)


def png(path: Path, image: np.ndarray, depth: int = 8) -> Path:
    """A PNG of another bit depth than Pillow writes."""
    pixels = image if depth == 8 else (image.astype(">u2") << (depth - 8))
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(tag: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    head = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], depth, 2, 0, 0, 0)
    path.write_bytes(PNG_MAGIC + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


def test_a_png_of_16_bits_is_refused_and_one_of_8_read(tmp_path: Path, image: np.ndarray):
    with pytest.raises(InputError, match="16-bit pixels"):
        open_slide(png(tmp_path / "deep.png", image, 16))
    with open_slide(png(tmp_path / "plain.png", image)) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 0, 1024, 1024), image)


@pytest.mark.parametrize(("kind", "fails"), [(3, False), (4, True), (1, True)])
def test_a_czi_of_another_pixel_type_is_named(tmp_path: Path, kind: int, fails: bool):
    """Its first directory entry says the type: 3 is Bgr24."""
    path = tmp_path / "s.czi"
    head = b"ZISRAWFILE".ljust(84, b"\0") + struct.pack("<q", 512)
    entry = b"DV" + struct.pack("<i", kind)
    path.write_bytes(head.ljust(512, b"\0") + b"ZISRAWDIRECTORY".ljust(32, b"\0") + bytes(128) + entry)
    if fails:
        with pytest.raises(InputError, match=r"Bgr48|Gray16"):
            check_czi(path)
    else:
        check_czi(path)


@pytest.mark.fault(
    stage="slides",
    fault="a fourth channel that the file does not call transparency (zeros, or grey)",
    sees="nothing: it is opaque",
    survives="everything",
)
@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize("fourth", [0, 128, 255])
def test_an_unspecified_fourth_channel_is_opaque(tmp_path: Path, image: np.ndarray, tiled: bool, fourth: int):
    pixels = np.dstack([image, np.full(image.shape[:2], fourth, np.uint8)])
    options = {"extrasamples": ["unspecified"]} | ({} if tiled else {"tile": None})
    path = write(tmp_path / "four.tif", pixels, **options)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, 100, 200, 400, 300), image[200:500, 100:500])
    assert tile(path, tmp_path).status == "ok"


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_transparency_that_the_file_states_lies_on_white(tmp_path: Path, image: np.ndarray, kind: str):
    alpha = np.full(image.shape[:2], 255, np.uint8)
    alpha[:512] = 0
    alpha[512:600] = 128
    stored = image if kind == "unassalpha" else np.rint(image * (alpha[..., None] / 255)).astype(np.uint8)
    path = write(tmp_path / "alpha.tif", np.dstack([stored, alpha]), extrasamples=[kind])
    with open_slide(path) as slide:
        found = slide.read(0, 0, 0, 1024, 1024)
    assert (found[:512] == 255).all()
    np.testing.assert_array_equal(found[600:], image[600:])
    half = image[512:600] * (128 / 255) + 255 * (127 / 255)
    assert np.abs(found[512:600] - half).max() <= 1.01


@pytest.mark.fault(
    stage="slides",
    fault="a label or a small picture on the first page, the slide behind it; tiled or in strips",
    sees="a warning that names the page which is read and the first one",
    survives="everything: the slide is read",
)
@pytest.mark.parametrize("first", ["tiled", "strips"])
@pytest.mark.parametrize("second", ["tiled", "strips"])
def test_the_largest_picture_is_the_slide(tmp_path: Path, image: np.ndarray, first: str, second: str):
    label = np.full((300, 420, 3), (200, 30, 30), np.uint8)
    path = tmp_path / "label.tif"
    keys = {"photometric": "rgb", "compression": "zlib", "resolutionunit": 3}
    with tifffile.TiffWriter(path) as tif:
        for picture, how, per_cm in ((label, first, 10_000), (image, second, 40_000)):
            tiles = {"tile": (128, 128)} if how == "tiled" else {}
            tif.write(picture, resolution=(per_cm, per_cm), **keys, **tiles)
    result = tile(path, tmp_path, tile={"size_px": 64})
    assert result.status == "ok" and result.mpp == pytest.approx(0.25)
    assert "page 1 (1,024 x 1,024 px) is read as the slide; page 0 is 420 x 300 px" in result.message
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 0, 1024, 1024), image)
    assert not red(tmp_path / "out" / "qc" / "s.jpg")


def red(path: Path) -> bool:
    """Whether a picture holds the red of the labels drawn here."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    return bool(((pixels[..., 0] > 170) & (pixels[..., 1] < 60) & (pixels[..., 2] < 60)).mean() > 0.01)


def test_two_pictures_of_one_size_are_refused(tmp_path: Path, image: np.ndarray):
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as tif:
        for _ in range(3):
            tif.write(image, compression="zlib", **TILED)
    with pytest.raises(InputError, match="holds 3 pictures of the same full size"):
        open_slide(path)


def test_a_level_that_shows_something_else_is_not_used(tmp_path: Path, image: np.ndarray):
    """A label of the slide's shape, marked as a reduced copy, never becomes a level."""
    path = tmp_path / "false.tif"
    label = np.full((256, 256, 3), (200, 30, 30), np.uint8)
    pixels = np.dstack([image, np.zeros(image.shape[:2], np.uint8)])
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels, compression="zlib", extrasamples=["unspecified"], subifds=1, **TILED)
        tif.write(label, compression="zlib", subfiletype=1, **TILED)
    with open_slide(path) as slide:
        assert isinstance(slide, TiffSlide)
        assert slide.downsamples == (1.0,)


@pytest.mark.fault(
    stage="slides",
    fault="a .mrxs without its folder, or whose folder lacks Slidedat.ini or a data file",
    sees="the row of the slide: which file or folder is missing; with or without mpp in the table",
    survives="every other slide; the thumbnail is never tiled",
)
@pytest.mark.parametrize("lacks", ["folder", "Slidedat.ini", "Data0001.dat", "empty Data0001.dat"])
@pytest.mark.parametrize("mpp", [None, 0.25])
def test_a_mirax_slide_without_its_files_is_refused(tmp_path: Path, image: np.ndarray, lacks: str, mpp: float | None):
    path = tmp_path / "lonely.mrxs"
    Image.fromarray(image).save(path, "JPEG")
    folder = tmp_path / "lonely"
    if lacks != "folder":
        folder.mkdir()
        (folder / "Data0000.dat").write_bytes(b"1")
        if lacks.startswith("empty"):
            (folder / "Data0001.dat").touch()
        if lacks != "Slidedat.ini":
            names = "INDEXFILE = Index.dat\n[DATAFILE]\nFILE_0 = Data0000.dat\nFILE_1 = Data0001.dat\n"
            (folder / "Slidedat.ini").write_text("\ufeff[HIERARCHICAL]\n" + names, encoding="utf-8")
        (folder / "Index.dat").write_bytes(b"1")
    with pytest.raises(InputError, match=lacks.split()[-1] if lacks != "folder" else "lacks its folder `lonely/`"):
        tile_slide(path, "s", tmp_path / "out", SlideSettings(), mpp)
    assert not (tmp_path / "out" / "tiles" / "s.h5").exists()


@pytest.mark.fault(
    stage="slides",
    fault="a PNG, JPEG, BMP or plain TIFF under the suffix of a scanner's format",
    sees="the row of the slide: what it is",
    survives="every other slide; the thumbnail is never tiled",
)
@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".svs", "PNG"), (".ndpi", "JPEG"), (".tif", "PNG"), (".tiff", "JPEG"), (".scn", "BMP"), (".bif", "TIFF"),
     (".svs", "TIFF")],
)  # fmt: skip
def test_a_picture_under_a_slides_name_is_refused(tmp_path: Path, image: np.ndarray, suffix: str, kind: str):
    path = tmp_path / f"thumb{suffix}"
    Image.fromarray(image).save(path, kind)
    with pytest.raises(InputError, match=f"is a (plain )?{kind} picture under the name of a slide"):
        tile_slide(path, "s", tmp_path / "out", SlideSettings(), 0.25)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("s.vsi", "Olympus VSI.*_s_"),
        ("frame_t_0.ets", "Olympus VSI"),
        ("s.isyntax", "iSyntax"),
        ("Data0000.dat", "MIRAX"),
    ],
)
def test_formats_that_no_reader_opens_are_named(tmp_path: Path, image: np.ndarray, name: str, words: str):
    path = write(tmp_path / "s.tif", image[:256, :256]).rename(tmp_path / name)
    with pytest.raises(InputError, match=words):
        open_slide(path)


def test_one_row_and_the_others_go_on(tmp_path: Path, image: np.ndarray):
    """Through the shard: a lying slide is a failed row."""
    rows = [
        {"slide_id": "bad", "patient_id": "a", "slide_path": str(write(tmp_path / "b.tif", image.astype(np.uint16)))},
        {"slide_id": "good", "patient_id": "b", "slide_path": str(write(tmp_path / "g.tif", image))},
    ]
    table = tile_shard(rows, SlideSettings(), tmp_path / "out", tmp_path / "s.tsv").set_index("slide_id")
    assert list(table["status"]) == ["failed", "ok"]
    assert table.loc["good", "tile_um"] == pytest.approx(128, rel=0.01)


def test_extents_of_sparse_files_are_whole(tmp_path: Path, image: np.ndarray):
    """Tiles that are not stored are white glass, by every reader."""

    def tiles(channels: int):
        for y in range(0, 1024, 256):
            for x in range(0, 1024, 256):
                piece = np.dstack([image, image[..., :1]])[y : y + 256, x : x + 256, :channels]
                yield None if y == 256 else np.ascontiguousarray(piece)

    for channels in (3, 4):
        path = tmp_path / f"{channels}.tif"
        extra = {"extrasamples": ["unspecified"]} if channels == 4 else {}
        tifffile.imwrite(path, tiles(channels), shape=(1024, 1024, channels), dtype=np.uint8, **TILED, **extra)
        with open_slide(path) as slide:
            check_extent(slide)
            found = slide.read(0, 0, 0, 1024, 1024)
        assert (found[256:512] == 255).all()
        np.testing.assert_array_equal(found[512:], image[512:])
        assert tile(path, tmp_path / str(channels)).status == "ok"
        assert len(read_tiles(tmp_path / str(channels) / "out" / "tiles" / "s.h5")) > 0
