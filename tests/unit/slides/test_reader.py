"""OpenSlide, plain images, and the direct path beside them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
from PIL import Image

from mirror.slides.reading import jpeg as fast_jpeg
from mirror.slides.reading.iterate import iterate_tiles
from mirror.slides.reading.jpeg import JpegSlide
from mirror.slides.reading.open import open_slide
from mirror.slides.reading.openslide_slide import OpenSlideSlide
from mirror.slides.reading.plain_slide import PlainSlide
from mirror.slides.reading.slide import on_white
from mirror.slides.reading.tiff_slide import TiffSlide
from slide_drawing import write_svs


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio, dB."""
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9)))


def collect(path: Path, coords: np.ndarray, size: float, out_px: int, backend: str, **more: int) -> np.ndarray:
    """All tiles in the order of ``coords``; each must come exactly once."""
    out = np.empty((len(coords), out_px, out_px, 3), np.uint8)
    seen = np.zeros(len(coords), int)
    for indices, tiles in iterate_tiles(path, coords, size, out_px, backend=backend, **more):
        out[indices] = tiles
        seen[indices] += 1
    assert (seen == 1).all()
    return out


def spread(width: int, height: int, size: int, step: int, multiple: int = 1) -> np.ndarray:
    """A grid that also reaches beyond the edges."""
    xs, ys = np.arange(-size // 2, width, step), np.arange(-size // 2, height, step)
    return np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2) // multiple * multiple


def test_direct_tiles_equal_openslide_on_the_real_slide(test_data: Path):
    path = test_data / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide:
        assert isinstance(slide, JpegSlide)
        width, height = slide.width, slide.height
    for size, out_px in ((256, 256), (257, 224)):
        coords = spread(width, height, size, 301)
        assert psnr(collect(path, coords, size, out_px, "auto"), collect(path, coords, size, out_px, "openslide")) >= 40


@pytest.mark.parametrize(("size", "out_px"), [(508, 224), (512, 256), (508, 256), (600, 224), (1016, 224), (1024, 256)])
def test_reduced_tiles_are_within_35_db_on_the_real_slide(test_data: Path, size: int, out_px: int):
    path = test_data / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide:
        truth_width, truth_height = slide.width, slide.height
        assert isinstance(slide, JpegSlide) and slide.reduced(slide.best_level(size / out_px))
    coords = spread(truth_width, truth_height, size, size // 2, 4)
    inside = (coords >= 0).all(1) & (coords + size <= (truth_width, truth_height)).all(1)
    coords = coords[inside]
    with openslide.OpenSlide(path) as handle:
        truth = [
            cv2.resize(
                np.asarray(handle.read_region((int(x), int(y)), 0, (size, size)).convert("RGB")),
                (out_px, out_px),
                interpolation=cv2.INTER_AREA,
            )
            for x, y in coords
        ]
    assert psnr(collect(path, coords, size, out_px, "auto"), np.stack(truth)) >= 35


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_every_tile_comes_once_whatever_the_batches(tissue_svs: Path, workers: int, batch: int):
    coords = spread(2048, 2048, 300, 290)
    found = collect(tissue_svs, coords, 300, 64, "auto", workers=workers, batch=batch)
    wanted = collect(tissue_svs, coords, 300, 64, "openslide")
    assert psnr(found, wanted) >= 35


def test_a_batch_is_not_overwritten_while_the_caller_holds_it(tissue_svs: Path):
    coords = spread(2048, 2048, 256, 256)
    held = list(iterate_tiles(tissue_svs, coords, 256, 32, batch=8))
    again = list(iterate_tiles(tissue_svs, coords, 256, 32, batch=8))
    copies = [(i, tiles.copy()) for i, tiles in iterate_tiles(tissue_svs, coords, 256, 32, batch=8)]
    for (_, a), (_, b), (_, c) in zip(held, again, copies, strict=True):
        assert np.array_equal(a, b) and np.array_equal(a, c)


def test_strips_of_a_wide_slide_give_the_same_tiles(tissue_svs: Path, monkeypatch: pytest.MonkeyPatch):
    coords = spread(2048, 2048, 256, 200)
    whole = collect(tissue_svs, coords, 256, 64, "auto")
    monkeypatch.setattr("mirror.slides.reading.jpeg_plan.CACHE_BYTES", 1)
    assert np.array_equal(collect(tissue_svs, coords, 256, 64, "auto"), whole)


def test_no_tiles_is_no_batch(tissue_svs: Path):
    assert list(iterate_tiles(tissue_svs, np.empty((0, 2), np.int64), 256, 64)) == []


@pytest.mark.parametrize(
    "options", [{"compression": "zlib", "compressionargs": None}, {"compression": "lzw", "compressionargs": None}]
)
def test_other_compressions_fall_back_by_themselves(tmp_path: Path, tissue_image: np.ndarray, options: dict):
    path = write_svs(tmp_path / "other.tif", tissue_image[:512, :512], (), **options)
    with open_slide(path) as slide:
        assert not isinstance(slide, JpegSlide)


def test_a_tile_in_doubt_is_left_to_openslide(tissue_svs: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever makes direct pixels differ (here a decoder that is off by 10) is noticed, not delivered."""
    right = fast_jpeg.simplejpeg.decode_jpeg
    monkeypatch.setattr(fast_jpeg.simplejpeg, "decode_jpeg", lambda *a, **k: right(*a, **k) ^ 10)
    with open_slide(tissue_svs) as slide:
        assert type(slide) is OpenSlideSlide


def test_a_tile_that_is_not_decoded_directly_is_read_by_openslide(tissue_svs: Path, monkeypatch: pytest.MonkeyPatch):
    coords = np.array([[512, 512], [900, 700]])
    wanted = collect(tissue_svs, coords, 256, 128, "openslide")
    right, calls = fast_jpeg.simplejpeg.decode_jpeg, []

    def failing(data: bytes, *args: object, **kwargs: object) -> np.ndarray:
        calls.append(data)
        if len(calls) > 2:  # the two levels' checks at opening pass
            raise ValueError("Corrupt JPEG data")
        return right(data, *args, **kwargs)

    monkeypatch.setattr(fast_jpeg.simplejpeg, "decode_jpeg", failing)
    assert psnr(collect(tissue_svs, coords, 256, 128, "auto"), wanted) >= 35
    assert len(calls) > 2


def test_beyond_the_edge_is_white(tissue_svs: Path):
    for backend in ("auto", "openslide"):
        with open_slide(tissue_svs, backend) as slide:
            window = slide.read(0, -50, 2040, 60, 60)
            assert (window[:, :50] == 255).all() and (window[8:] == 255).all()


def test_transparent_pixels_are_white():
    rgba = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 128]]], np.uint8)
    assert on_white(rgba).tolist() == [[[255, 255, 255], [10, 20, 30], [127, 127, 127]]]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_plain_images_are_slides_of_one_level(tmp_path: Path, tissue_image: np.ndarray, suffix: str):
    path = tmp_path / f"plain{suffix}"
    Image.fromarray(tissue_image[:700, :600]).save(path)
    with open_slide(path) as slide:
        assert isinstance(slide, TiffSlide if suffix == ".tif" else PlainSlide)
        assert (slide.width, slide.height, slide.downsamples) == (600, 700, (1.0,))
        assert psnr(slide.read(0, 300, 300, 200, 200), tissue_image[300:500, 300:500]) > 25


def test_non_integer_downsamples_line_up(tmp_path: Path, tissue_image: np.ndarray):
    path = write_svs(tmp_path / "odd.svs", tissue_image[:2047, :2045], (3,))
    with open_slide(path) as slide:
        assert not slide.downsamples[-1].is_integer()
    coords = np.array([[300, 300], [777, 501], [1001, 1203]])
    out = collect(path, coords, 512, 128, "auto")
    for (x, y), tile in zip(coords, out, strict=True):
        truth = cv2.resize(tissue_image[y : y + 512, x : x + 512], (128, 128), interpolation=cv2.INTER_AREA)
        assert psnr(tile, truth) > 30
