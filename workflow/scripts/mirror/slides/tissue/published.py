"""Other ways to find tissue: the published Otsu recipe, and a segmentation model of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...core.errors import InputError
from ..reading.open import GIT_LFS
from ..reading.slide import Slide
from .default import find_pen, glass_colour, optical_density
from .mask import DARK, TissueMask

# the published parameters, pixels at 20x
MEDIAN, CLOSE, ERODE = 7, 5, 10
FILL_HOLES_BELOW, DROP_OBJECTS_BELOW = 16_384, 8_192
BLOCK = 8  # the mask is kept as the share of each 8 x 8 block, or a large slide's would not fit in memory
HALO = 32  # rows read beyond a strip, more than the filters reach
STRIP_PIXELS = 12_000_000
MODEL_MULTIPLE = 32
PROBE_PX = 256  # side of the picture on which a model is tried before any slide


def segment_published(slide: Slide, mpp: float, target_mpp: float) -> TissueMask:
    """Find tissue as published: Otsu on HSV saturation at full target resolution.

    Median blur of 7, global Otsu threshold, closing by 5, erosion by 10, holes below 16,384 px
    filled and objects below 8,192 px removed. The slide is streamed in strips, twice: first for
    the histogram, then for the mask. Filters are exact; the areas of holes and objects are
    counted over blocks of 8 x 8 px, so that the mask of a large slide fits in memory.

    Parameters
    ----------
    slide : Slide
    mpp, target_mpp : float
        Micrometres a pixel of the slide and of the recipe (0.5 is 20x).

    Returns
    -------
    TissueMask
        ``tissue`` is float32, the share of each block; no pen is looked for, as published.
    """
    scale = target_mpp / mpp
    histogram = np.zeros(256, np.int64)
    for saturation, own in _saturation_strips(slide, scale):
        histogram += np.bincount(saturation[own].ravel(), minlength=256)
    threshold = otsu(histogram)
    close, erode = np.ones((CLOSE, CLOSE), np.uint8), np.ones((ERODE, ERODE), np.uint8)
    blocks = []
    for saturation, own in _saturation_strips(slide, scale):
        coarse = cv2.morphologyEx((saturation > threshold).astype(np.uint8), cv2.MORPH_CLOSE, close)
        blocks.append(_block_shares(cv2.erode(coarse, erode)[own]))
    share = np.concatenate(blocks)
    empty = 1 - share
    holes = _areas((share < 0.5).astype(np.uint8), empty)
    share = np.where(_labels_below(holes, FILL_HOLES_BELOW), np.float32(1), share)
    objects = _areas((share > 0).astype(np.uint8), share)
    share = np.where(_labels_below(objects, DROP_OBJECTS_BELOW), np.float32(0), share)
    return TissueMask(share, np.zeros(share.shape, bool), target_mpp * BLOCK)


def otsu(histogram: np.ndarray) -> int:
    """Otsu's threshold (1979) of a 256-bin histogram: values above it are foreground."""
    weight = histogram / max(1, histogram.sum())
    below, mean = np.cumsum(weight), np.cumsum(weight * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * below - mean) ** 2 / (below * (1 - below))
    return int(np.nanargmax(np.where(np.isfinite(between), between, -1)))


def segment_by_model(rgb: np.ndarray, mpp: float, model_path: str | None) -> TissueMask:
    """Find tissue with a local TorchScript model; pens are still found by colour.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (h, w, 3)
        The overview.
    mpp : float
        Its micrometres a pixel.
    model_path : str
        A TorchScript file that takes float32 (1, 3, H, W), RGB from 0 to 1, H and W multiples of
        32, and returns the probability of tissue, (1, 1, H, W).

    Raises
    ------
    InputError
        When there is no such file, it does not load, or it returns something else.
    """
    model = _load_model(model_path)
    height, width = rgb.shape[:2]
    pad = ((0, -height % MODEL_MULTIPLE), (0, -width % MODEL_MULTIPLE), (0, 0))
    pixels = np.pad(rgb, pad, constant_values=255).astype(np.float32) / 255
    tissue = _run_model(model, pixels, model_path)[:height, :width] > 0.5
    dark = rgb.max(axis=2) < DARK
    pen = find_pen(optical_density(rgb, glass_colour(rgb)), dark, mpp)
    return TissueMask(tissue & ~pen, pen, mpp)


def check_model(model_path: str | None) -> None:
    """Load a segmentation model and try it on a small picture, so that its faults are not blamed on slides.

    Parameters
    ----------
    model_path : str
        As for `segment_by_model`.

    Raises
    ------
    InputError
        As for `segment_by_model`.
    """
    # neither flat nor white, so that a model that normalises by the picture's spread can be tried too
    pixels = np.random.default_rng(0).random((PROBE_PX, PROBE_PX, 3), dtype=np.float32)
    _run_model(_load_model(model_path), pixels, model_path)


def _load_model(model_path: str | None) -> Any:
    """Load a TorchScript model in evaluation mode; its errors name the setting."""
    import torch  # only this plug-in needs it

    setting = "slides.tissue.model_path"
    remedy = f"name a TorchScript file in {setting}"
    if not model_path:
        raise InputError("is empty, so there is no segmentation model", file=setting, remedy=remedy)
    path = Path(model_path)
    if not path.is_file():
        raise InputError("no such segmentation model", file=path, row=setting, remedy=remedy)
    try:
        with open(path, "rb") as handle:
            head = handle.read(len(GIT_LFS))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path, row=setting, remedy=remedy) from error
    if head == GIT_LFS:
        raise InputError("is a git-LFS pointer, not the model", file=path, row=setting, remedy="run `git lfs pull`")
    try:
        return torch.jit.load(model_path, map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:  # its text is about torch's archive format, no help to anyone
        remedy = "save the model by torch.jit.script(model).save(path), or fetch the file again"
        raise InputError("is not a whole TorchScript file", file=path, row=setting, remedy=remedy) from error


def _run_model(model: Any, pixels: np.ndarray, model_path: str | None) -> np.ndarray:
    """Tissue probability of float32 (H, W, 3) pixels from 0 to 1; shape (H, W)."""
    import torch

    place: dict[str, Any] = {"file": model_path, "row": "slides.tissue.model_path"}
    try:
        with torch.inference_mode():
            answer = model(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    except RuntimeError as error:
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise InputError(f"does not run as a segmentation model ({last})", **place) from error
    if not isinstance(answer, torch.Tensor):
        raise InputError(f"returns a {type(answer).__name__}, not the tissue probability (1, 1, H, W)", **place)
    if tuple(answer.shape) != (1, 1, *pixels.shape[:2]):
        problem = f"returns {tuple(answer.shape)} for {(1, 3, *pixels.shape[:2])}"
        raise InputError(f"{problem}, not the tissue probability (1, 1, H, W)", **place)
    probability = answer[0, 0].float().numpy()
    if not np.isfinite(probability).all():
        raise InputError("returns NaN or infinity, not the tissue probability", **place)
    return probability


def _saturation_strips(slide: Slide, scale: float) -> Iterator[tuple[np.ndarray, slice]]:
    """Yield blurred saturation in strips with a halo, and which rows are the strip's own."""
    x, y, width, height = slide.bounds
    rows, cols = max(BLOCK, round(height / scale)), max(BLOCK, round(width / scale))
    rows, cols = rows - rows % BLOCK, cols - cols % BLOCK
    step = max(BLOCK, STRIP_PIXELS // cols // BLOCK * BLOCK)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        first, last = max(0, start - HALO), min(rows, stop + HALO)
        strip = np.empty((last - first, cols, 3), np.uint8)
        slide.read_box(x, y + first * scale, cols * scale, (last - first) * scale, strip)
        saturation = cv2.medianBlur(cv2.cvtColor(strip, cv2.COLOR_RGB2HSV)[..., 1], MEDIAN)
        yield saturation, slice(start - first, stop - first)


def _block_shares(mask: np.ndarray) -> np.ndarray:
    """Share of each block that is set; float32."""
    rows, cols = mask.shape[0] // BLOCK, mask.shape[1] // BLOCK
    return mask.reshape(rows, BLOCK, cols, BLOCK).mean(axis=(1, 3), dtype=np.float32)


def _areas(mask: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label components; return the labels and their areas in full-resolution pixels."""
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    areas = np.bincount(labels.ravel(), weights=weight.ravel(), minlength=count) * BLOCK**2
    areas[0] = np.inf
    return labels, areas


def _labels_below(found: tuple[np.ndarray, np.ndarray], pixels: int) -> np.ndarray:
    """Where a component is smaller than ``pixels``."""
    labels, areas = found
    return (areas < pixels)[labels]
