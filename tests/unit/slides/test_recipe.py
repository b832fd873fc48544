"""The published tissue recipe, step by step, on a picture on which each of its parameters shows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.ndimage as nd

from mirror.slides.reading.open import open_slide
from mirror.slides.tissue import published as tissue_other
from mirror.slides.tissue.published import segment_published
from slide_drawing import draw_tissue, write_svs

SIDE, BLOCK = 2048, 8
PINK, GLASS = (214, 90, 190), (243, 243, 243)


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory) -> Path:
    """At the recipe's own 0.5 um/px: pieces just below and above its sizes, holes likewise, cracks, specks."""
    image = draw_tissue(SIDE)
    for x, radius in ((80, 50), (260, 66)):  # after erosion of 10: one below 8192 px, one above
        cv2.circle(image, (x, 120), radius, PINK, -1)
    for x, radius in ((850, 55), (1150, 90)):  # holes: one below 16384 px (dilated by erosion), one above
        cv2.circle(image, (x, 1100), radius, GLASS, -1)
    # What the median removes and what closing heals, so dense that erosion would make one large hole of it.
    for y in range(1250, 1450, 14):
        for x in range(800, 1000, 12):
            image[y : y + 7, x : x + 5] = GLASS
    for y in range(600, 800, 14):
        image[y : y + 4, 900:1100] = GLASS
    return write_svs(tmp_path_factory.mktemp("recipe") / "r.svs", image, (), mpp=0.5)


def by_hand(rgb: np.ndarray) -> np.ndarray:
    """Median 7, Otsu, close 5, erode 10, holes below 16384 px filled, objects below 8192 px dropped."""
    saturation = cv2.medianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[..., 1], 7)
    threshold, _ = cv2.threshold(saturation, 0, 255, cv2.THRESH_OTSU)
    mask = cv2.morphologyEx((saturation > threshold).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    mask = cv2.erode(mask, np.ones((10, 10), np.uint8))
    for value, least in ((0, 16_384), (1, 8_192)):
        labels, _ = nd.label(mask == value, np.ones((3, 3)))
        small = np.bincount(labels.ravel()) < least
        small[0] = False
        mask[small[labels]] = 1 - value
    return mask


def shares(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        return segment_published(slide, 0.5, 0.5).tissue


def expected(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        mask = by_hand(slide.read(0, 0, 0, SIDE, SIDE))
    return mask.reshape(SIDE // BLOCK, BLOCK, SIDE // BLOCK, BLOCK).mean((1, 3))


def test_the_recipe_is_followed(slide_path: Path):
    """Areas are counted over blocks, so that rims of filled holes keep their share; no tile is kept or lost by it."""
    ours, hand = shares(slide_path), expected(slide_path)
    assert (np.abs(ours - hand) > 1 / 64).mean() < 0.001
    np.testing.assert_array_equal(ours > 0, hand > 0)
    assert ours.mean() == pytest.approx(hand.mean(), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("MEDIAN", 3), ("CLOSE", 3), ("ERODE", 9), ("ERODE", 12), ("FILL_HOLES_BELOW", 8_192),
     ("FILL_HOLES_BELOW", 40_000), ("DROP_OBJECTS_BELOW", 4_096), ("DROP_OBJECTS_BELOW", 16_384)],
)  # fmt: skip
def test_every_parameter_of_it_shows(slide_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: int):
    """So that the comparison above could not pass with another one."""
    monkeypatch.setattr(tissue_other, name, value)
    ours, hand = shares(slide_path), expected(slide_path)
    assert (np.abs(ours - hand) > 1 / 64).mean() > 0.002 or ((ours > 0) != (hand > 0)).sum() > 10
