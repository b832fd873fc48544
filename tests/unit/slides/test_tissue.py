"""Every labelled real tile is judged as its name says, and drawn cases with known answers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mirror.config.slides import SlideSettings, TissueSettings
from mirror.features.focus import focus_score
from mirror.slides.reading.open import open_slide
from mirror.slides.tiling.tile import find_tissue
from mirror.slides.tissue.default import segment
from mirror.slides.tissue.model import segment_by_model
from mirror.slides.tissue.published import otsu, segment_published
from slide_drawing import write_svs

SETTINGS = SlideSettings()
# name: (least tissue, most tissue, least pen, most pen), shares of the picture
JUDGED = {
    "almost-white-1": (0, 0.01, 0, 0.01),
    "almost-white-2": (0, 0.10, 0, 0.01),
    "diagnostic-slide-thumb-rgb": (0.35, 0.65, 0.15, 0.45),
    "high-nuclei-score-red-pen-level1": (0.8, 0.97, 0.03, 0.2),
    "medium-nuclei-score-green-pen-level1": (0.25, 0.5, 0.4, 0.65),
    "medium-nuclei-score-level2": (0.7, 0.9, 0, 0.01),
    "no-tissue-green-pen": (0, 0.05, 0.6, 0.9),
    "no-tissue-line": (0, 0.05, 0, 0.05),
    "no-tissue-red-pen": (0, 0.1, 0.6, 0.9),
    "no-tissue": (0, 0.01, 0, 0.01),
    "tcga-red-pen": (0.5, 0.75, 0.2, 0.45),
    "tissue-level0-4302-10273-4814-10785": (0.6, 1, 0, 0.01),
    "wsi-blue-pen": (0.3, 1, 0.01, 0.1),
}


def judge(path: Path, mpp: float) -> tuple[float, float]:
    settings = SETTINGS.model_copy(update={"tissue": TissueSettings(min_object_um2=0, max_hole_um2=2000)})
    with open_slide(path) as slide:
        mask = find_tissue(slide, mpp, settings)[1]
    return float(mask.tissue.mean()), float(mask.pen.mean())


@pytest.mark.parametrize("name", JUDGED)
def test_labelled_tile_is_judged_as_its_name_says(test_data: Path, name: str):
    low, high, least_pen, most_pen = JUDGED[name]
    # 2 um/px keeps a quarter of the side: enough for a thumbnail and for a tile alike
    mpp = 4.0 if name == "wsi-blue-pen" else 2.0
    tissue, pen = judge(test_data / "tiles" / f"{name}.png", mpp)
    assert low <= tissue <= high, f"tissue {tissue:.3f}"
    assert least_pen <= pen <= most_pen, f"pen {pen:.3f}"


def test_every_labelled_tile_is_in_the_list(test_data: Path):
    assert {path.stem for path in (test_data / "tiles").glob("*.png")} == set(JUDGED)


def test_levels_do_not_change_the_result(tmp_path: Path, tissue_image: np.ndarray):
    masks = []
    for name, factors in (("one", ()), ("two", (4,)), ("three", (4, 16))):
        path = write_svs(tmp_path / f"{name}.svs", tissue_image, factors)
        for backend in ("auto", "openslide"):
            with open_slide(path, backend) as slide:
                masks.append(find_tissue(slide, 0.25, SETTINGS)[1].tissue)
    for mask in masks[1:]:
        assert (mask & masks[0]).sum() >= 0.98 * (mask | masks[0]).sum()


def glass(side: int = 200) -> np.ndarray:
    return np.full((side, side, 3), 243, np.uint8)


def test_holes_are_filled_and_specks_dropped():
    image = glass()
    cv2.circle(image, (100, 100), 60, (214, 150, 190), -1)
    cv2.circle(image, (100, 100), 6, (243, 243, 243), -1)  # 7,200 um^2 at 8 um/px
    cv2.circle(image, (20, 20), 5, (214, 150, 190), -1)  # 5,000 um^2
    mask = segment(image, 8.0, TissueSettings()).tissue
    assert mask[100, 100] and mask[100, 50] and not mask[20, 20]


def test_large_holes_stay_open():
    image = glass()
    cv2.circle(image, (100, 100), 80, (214, 150, 190), -1)
    cv2.circle(image, (100, 100), 30, (243, 243, 243), -1)
    assert not segment(image, 8.0, TissueSettings()).tissue[100, 100]


@pytest.mark.parametrize("colour", [(232, 220, 228), (238, 226, 232)])
def test_pale_tissue_and_fat_are_tissue(colour: tuple[int, int, int]):
    image = glass()
    cv2.circle(image, (100, 100), 60, colour, -1)
    assert segment(image, 8.0, TissueSettings()).tissue.mean() > 0.25


@pytest.mark.parametrize(
    "colour",
    [(20, 60, 200), (30, 150, 90), (200, 20, 30), (30, 25, 28), (60, 130, 220), (240, 220, 40), (60, 20, 35)],
    ids=["blue", "green", "red", "black", "light blue", "yellow", "maroon"],
)
def test_pen_of_any_colour_is_no_tissue(colour: tuple[int, int, int]):
    image = glass()
    cv2.line(image, (20, 40), (180, 160), colour, 14)
    image = cv2.GaussianBlur(image, (5, 5), 0)
    mask = segment(image, 8.0, TissueSettings(min_object_um2=0))
    assert mask.tissue.mean() < 0.02
    stroke = np.abs(image.astype(int) - 243).max(axis=2) > 150
    assert (mask.pen | (image.max(axis=2) < 60))[stroke].mean() > 0.9


def test_black_border_is_neither_tissue_nor_reason_to_miss_tissue():
    image = glass()
    image[:, :20] = image[:12] = 0
    cv2.circle(image, (110, 110), 50, (214, 150, 190), -1)
    mask = segment(image, 8.0, TissueSettings())
    assert mask.tissue[110, 110] and not mask.tissue[:10].any() and not mask.tissue[:, :18].any()


def test_an_unlit_slide_has_no_tissue_and_says_so():
    image = np.zeros((200, 200, 3), np.uint8)
    cv2.circle(image, (100, 100), 20, (0, 0, 140), -1)
    mask = segment(image, 8.0, TissueSettings())
    assert not mask.tissue.any() and "fluorescence" in mask.note


def test_tinted_glass_is_glass():
    image = np.full((200, 200, 3), (242, 232, 238), np.uint8)
    assert segment(image, 8.0, TissueSettings()).tissue.mean() == 0


def test_otsu_splits_two_heaps():
    histogram = np.zeros(256)
    histogram[10:20], histogram[100:120] = 50, 20
    assert 19 <= otsu(histogram) < 100


def test_published_recipe_erodes_and_drops_small_objects(tmp_path: Path, tissue_image: np.ndarray):
    image = np.repeat(np.repeat(tissue_image, 1, 0), 1, 1).copy()
    cv2.circle(image, (60, 60), 20, (214, 90, 190), -1)  # below 8,192 px
    path = write_svs(tmp_path / "p.svs", image, (), mpp=0.5)
    with open_slide(path) as slide:
        mask = segment_published(slide, 0.5, 0.5)
    disc = np.pi * (0.36 * 2048) ** 2
    inside = mask.tissue.sum() * 64
    assert 0.93 * disc < inside < disc
    assert mask.tissue[:16, :16].sum() == 0


def test_a_torchscript_model_may_take_over(tmp_path: Path):
    torch = pytest.importorskip("torch")

    class Pink(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return ((x[:, :1] - x[:, 1:2]) > 0.1).float()

    path = tmp_path / "model.pt"
    torch.jit.script(Pink()).save(str(path))
    image = glass(70)
    cv2.circle(image, (35, 35), 20, (214, 150, 190), -1)
    mask = segment_by_model(image, 8.0, TissueSettings(method="torchscript", model_path=str(path)))
    assert mask.tissue[35, 35] and not mask.tissue[2, 2]


def test_blur_lowers_focus_whatever_the_contrast(tissue_image: np.ndarray):
    sharp = tissue_image[900:1124, 900:1124]
    blurred = cv2.GaussianBlur(sharp, (0, 0), 3)
    pale = (255 - (255 - sharp.astype(int)) // 2).astype(np.uint8)
    flat = np.full_like(sharp, 240)
    scores = focus_score(np.stack([sharp, blurred, pale, flat]))
    assert scores.dtype == np.float32
    assert scores[0] > 5 * scores[1] and scores[2] > 5 * scores[1] and scores[3] == 0
    assert 0.7 < scores[2] / scores[0] < 1.4
