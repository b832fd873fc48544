"""Colours of tissue: red and blue exchanged are said, H&E as scanned is not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mirror.config.slides import SlideSettings
from mirror.slides.tiling.facts import slide_facts
from mirror.slides.tiling.shard import tile_shard
from mirror.slides.tissue.default import segment
from mirror.slides.tissue.stain import EXCHANGED, dark_against_pale
from slide_drawing import write_svs

UM = 8.0


@pytest.mark.fault(
    stage="slides",
    fault="red and blue exchanged (BGR) on one slide, or another stain than H&E",
    sees="a warning: the darkest tissue is redder than the palest; slides whose two stains differ little pass",
    survives="the slide is read as it is",
)
def test_exchanged_channels_are_said_with_the_slides_name(tmp_path: Path, tissue_image: np.ndarray) -> None:
    slides = []
    for name, image in (("good", tissue_image), ("turned", tissue_image[..., ::-1])):
        path = write_svs(tmp_path / f"{name}.svs", np.ascontiguousarray(image))
        slides.append({"slide_id": name, "patient_id": name, "slide_path": str(path)})
    table = tile_shard(slides, SlideSettings(), tmp_path / "out", tmp_path / "status.tsv")
    assert list(table["status"]) == ["ok", "ok"] and table["message"][0] == ""
    said = [fact.text() for fact in slide_facts(table, "T").warnings]
    assert len(said) == 1 and "slide turned" in said[0] and "(BGR)" in said[0]


def test_a_few_pixels_and_one_colour_say_nothing() -> None:
    rgb = np.full((40, 40, 3), (200, 120, 180), np.uint8)
    assert np.isnan(dark_against_pale(rgb, np.zeros((40, 40), bool)))
    assert abs(dark_against_pale(rgb, np.ones((40, 40), bool))) < 1e-9
    assert abs(dark_against_pale(rgb, np.ones((10, 10), np.float32))) < 1e-9  # a coarser mask, of shares


@pytest.mark.parametrize("section", ["B4", "C2", "C3", "C4"])
def test_real_sections(test_data: Path, section: str) -> None:
    """Four real sections, 0.69 um/px: never doubted as they are, always with red and blue exchanged."""
    with Image.open(test_data / "pairs" / "her2st" / f"{section}.jpg") as picture:
        picture.draft("RGB", (picture.width // 8, picture.height // 8))  # decoded at an eighth: fast
        rgb = np.asarray(picture.convert("RGB"))
        scale = 0.69 / UM * 8
    rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    settings = SlideSettings().resolved().tissue
    assert dark_against_pale(rgb, segment(rgb, UM, settings).tissue) > 0.3
    turned = np.ascontiguousarray(rgb[..., ::-1])
    assert dark_against_pale(turned, segment(turned, UM, settings).tissue) < 2 * EXCHANGED
