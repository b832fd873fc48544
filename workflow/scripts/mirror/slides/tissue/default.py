"""Telling tissue from glass, pen and dirt.

The default works on optical density relative to the slide's own glass, at one physical
resolution, so that neither the scanner's white point nor the levels in the file matter. Stained
tissue absorbs green more than red (eosin, DAB) or more than blue (haematoxylin); glass, dust,
bubbles and coverslip edges are grey; pens are more saturated than any stain, or absorb red more
than green, which tissue never does.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...config.slides import TissueSettings
from .mask import DARK, DARK_SLIDE, TissueMask

STAIN = 0.035  # least difference in optical density (natural log) between green and red or blue
CLOSE_UM, PEN_HALO_UM = 24.0, 40.0


def segment(rgb: np.ndarray, mpp: float, settings: TissueSettings) -> TissueMask:
    """Find tissue and pen marks on an overview.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (h, w, 3)
        The overview.
    mpp : float
        Its micrometres per pixel.
    settings : TissueSettings
        Sizes of pieces and holes.

    Returns
    -------
    TissueMask
    """
    dark = rgb.max(axis=2) < DARK
    if dark.mean() > DARK_SLIDE:
        nothing = np.zeros(dark.shape, bool)
        return TissueMask(nothing, nothing.copy(), mpp, "nearly all black: fluorescence, or nothing was scanned")
    density = optical_density(rgb, glass_colour(rgb))
    pen = find_pen(density, dark, mpp)
    red, green, blue = density[..., 0], density[..., 1], density[..., 2]
    stained = (green - np.minimum(red, blue) > STAIN) & ~dark & ~pen
    stained = cv2.morphologyEx(stained.astype(np.uint8), cv2.MORPH_CLOSE, _disc(CLOSE_UM / 2, mpp))
    tissue = clean(stained.astype(bool), mpp, settings.min_object_um2, settings.max_hole_um2)
    return TissueMask(tissue & ~pen & ~dark, pen, mpp)


def glass_colour(rgb: np.ndarray) -> np.ndarray:
    """Colour of empty glass: the median of the bright, grey pixels, or white where there are none.

    Returns
    -------
    ndarray of float32, shape (3,)
    """
    pixels = rgb.reshape(-1, 3)
    pixels = pixels[:: max(1, len(pixels) // 1_000_000)]
    low, high = pixels.min(axis=1).astype(np.int16), pixels.max(axis=1).astype(np.int16)
    glass = pixels[(low > 200) & (high - low < 20) & (low < 255)]
    if len(glass) < 0.001 * len(pixels) or len(glass) < 16:
        return np.full(3, 245, np.float32)
    return np.median(glass, axis=0).astype(np.float32)


def optical_density(rgb: np.ndarray, glass: np.ndarray) -> np.ndarray:
    """Natural-log optical density relative to glass, lightly smoothed; float32, shape (h, w, 3), at least 0."""
    table = -np.log((np.arange(256, dtype=np.float32)[:, None] + 1) / (glass[None] + 1))
    density = np.stack([table[:, c][rgb[..., c]] for c in range(3)], axis=-1)
    return np.maximum(cv2.GaussianBlur(density, (3, 3), 0), 0)


def find_pen(density: np.ndarray, dark: np.ndarray, mpp: float) -> np.ndarray:
    """Find pen marks of any colour: a sure core, grown into its paler rim.

    Parameters
    ----------
    density : ndarray of float32, shape (h, w, 3)
        Optical density relative to glass.
    dark : ndarray of bool, shape (h, w)
        Pixels without light: black pen or border.
    mpp : float
        Micrometres per pixel.

    Returns
    -------
    ndarray of bool, shape (h, w)
    """
    red, green, blue = density[..., 0], density[..., 1], density[..., 2]
    cold = red - green  # above 0 for green, teal and blue ink; below 0 for every stain
    warm = blue > 0.73 * green  # eosin and haematoxylin absorb much less blue than green, red and black ink do not
    core = (cold > 0.15) | (warm & (green > 1.0) & (np.minimum(green, blue) - 2.0 * red > 0.4))
    core |= warm & (blue < 1.05 * green) & (red > 1.0) & (green > 1.8)  # black and maroon; DAB is browner
    core |= (blue > 1.0) & (green < 0.4 * blue) & (red < 0.15)  # yellow
    rim = (cold > 0.05) | (warm & (green > 0.08)) | dark
    core = cv2.morphologyEx(core.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    near = cv2.dilate(core, _disc(4 * PEN_HALO_UM, mpp)).astype(bool)
    _, labels = cv2.connectedComponents((core.astype(bool) | (rim & near)).astype(np.uint8), connectivity=8)
    touched = np.unique(labels[core.astype(bool)])
    return np.isin(labels, touched[touched > 0])


def clean(mask: np.ndarray, mpp: float, min_object_um2: float, max_hole_um2: float) -> np.ndarray:
    """Fill small holes and drop small pieces.

    Parameters
    ----------
    mask : ndarray of bool, shape (h, w)
    mpp : float
        Micrometres per pixel.
    min_object_um2, max_hole_um2 : float
        Areas in square micrometres.

    Returns
    -------
    ndarray of bool, shape (h, w)
    """
    mask = mask | _small(~mask, max_hole_um2 / mpp**2, keep_edge=True)
    return mask & ~_small(mask, min_object_um2 / mpp**2, keep_edge=False)


def _small(mask: np.ndarray, pixels: float, *, keep_edge: bool) -> np.ndarray:
    """Components of ``mask`` with fewer than ``pixels``; those at the image's edge may be spared."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] < pixels
    small[0] = False
    if keep_edge and count > 1:
        rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        small[np.unique(rim)] = False
    return small[labels]


def _disc(radius_um: float, mpp: float) -> np.ndarray:
    """Return an elliptic structuring element of a physical radius, at least 3 x 3."""
    side = 2 * max(1, round(radius_um / mpp)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
