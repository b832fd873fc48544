"""What a shard's table says of a bad model, a picture without colour, an empty path and odd plain images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from mirror.config.slides import SlideSettings
from mirror.core.errors import InputError
from mirror.slides.reading.open import open_slide
from mirror.slides.tiling.shard import tile_shard
from slide_drawing import draw_tissue, write_svs


def message(tmp_path: Path, path: Path | str, mpp: float | None = 0.25, model: Path | str | None = None) -> str:
    """Status and message of one slide."""
    tissue = {"method": "torchscript", "model_path": str(model)} if model else {}
    rows = [{"slide_id": "s", "patient_id": "p", "slide_path": str(path), "mpp": mpp}]
    table = tile_shard(rows, SlideSettings(tissue=tissue), tmp_path / "out", tmp_path / "out" / "s.tsv")
    return f"{table['status'][0]}: {table['message'][0]}"


def save_model(path: Path, body: str) -> Path:
    """Write a TorchScript model whose forward pass is ``body``."""
    torch = pytest.importorskip("torch")
    scripted = torch.jit.script(type("Model", (torch.nn.Module,), {})())  # a class of its own: types are kept
    scripted.define(f"def forward(self, x):\n    return {body}\n")
    scripted.save(str(path))
    return path


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x[:, :2]", r"returns \(1, 2, \d+, \d+\)"),
        ("(x, x)", "returns a tuple"),
        ("x[:, :1] * float('nan')", "NaN"),
        ("x.view(7)", "does not run"),
    ],
)
def test_a_model_that_cannot_segment_ends_the_job_before_any_slide(tmp_path: Path, body: str, words: str):
    model = save_model(tmp_path / "model.pt", body)
    with pytest.raises(InputError, match=words) as caught:
        message(tmp_path, tmp_path / "never_read.svs", model=model)
    assert "model.pt (slides.tissue.model_path)" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such segmentation model"),
        (b"", "not a whole TorchScript file"),
        (b"x" * 50, "not a whole TorchScript file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
    ],
)
def test_a_file_that_is_no_model_ends_the_job_before_any_slide(tmp_path: Path, content: bytes | None, words: str):
    model = tmp_path / "model.pt"
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        message(tmp_path, tmp_path / "never_read.svs", model=model)
    text = str(caught.value)
    assert "slides.tissue.model_path" in text and "miniz" not in text and "PytorchStream" not in text


def test_saved_weights_are_no_model(tmp_path: Path):
    torch = pytest.importorskip("torch")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match=r"not a whole TorchScript file.*torch\.jit\.script"):
        message(tmp_path, "x.svs", model=tmp_path / "weights.pt")


def test_a_good_model_tiles(tmp_path: Path):
    slide = write_svs(tmp_path / "a.svs", draw_tissue(1536))
    model = save_model(tmp_path / "model.pt", "((x[:, :1] - x[:, 1:2]) > 0.1).float()")
    assert message(tmp_path, slide, model=model) == "ok: "


def test_a_greyscale_slide_is_said_to_have_no_colour(tmp_path: Path):
    grey = np.repeat(draw_tissue(1536).mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    slide = write_svs(tmp_path / "grey.svs", grey)
    for _ in range(2):  # a rerun, which keeps the tiles, says the same
        said = message(tmp_path, slide)
        assert said.startswith("empty: no tile with enough tissue") and "no colour" in said


@pytest.mark.parametrize("value", [243, 0])
def test_bare_glass_and_darkness_are_not_called_greyscale(tmp_path: Path, value: int):
    slide = write_svs(tmp_path / "flat.svs", np.full((1200, 1200, 3), value, np.uint8))
    said = message(tmp_path, slide)
    assert said.startswith("empty: ") and "no colour" not in said


def test_an_empty_path_is_called_empty(tmp_path: Path):
    assert message(tmp_path, "").startswith("failed: slide_id s: slide_path is empty")


def test_a_tiff_of_other_pixels_is_named_by_them(tmp_path: Path):
    tifffile.imwrite(tmp_path / "f.tif", np.zeros((600, 600, 3), np.float32))
    said = message(tmp_path, tmp_path / "f.tif")
    assert "32-bit floating point, not 8-bit unsigned integer" in said and "no format" not in said


def test_a_plain_image_above_the_limit_is_refused_and_no_global_is_left_changed(tmp_path: Path):
    Image.fromarray(np.zeros((100, 100, 3), np.uint8)).save(tmp_path / "fits.png")
    Image.fromarray(np.zeros((100, 101, 3), np.uint8)).save(tmp_path / "over.png")
    before = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(4) as pool:
        widths = list(pool.map(lambda _: open_slide(tmp_path / "fits.png", memory=100_000).width, range(40)))
    assert widths == [100] * 40
    assert before == Image.MAX_IMAGE_PIXELS
    with pytest.raises(InputError, match=r"too large for a plain image: 101 x 100 px need"):
        open_slide(tmp_path / "over.png", memory=100_000)


def test_an_image_that_pillow_would_refuse_is_opened(tmp_path: Path):
    """Below our limit and above Pillow's own (178,956,970 pixels), which is no limit of a slide."""
    Image.new("L", (20_000, 9_000), 255).save(tmp_path / "wide.png", compress_level=1)
    with Image.open(tmp_path / "wide.png") as image:
        assert image.size == (20_000, 9_000)
