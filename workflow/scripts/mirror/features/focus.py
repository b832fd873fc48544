"""How sharp a tile is.

The variance of the Laplacian (Pech-Pacheco et al., ICPR 2000), divided by the variance of the
tile's brightness, so that pale and dark tissue in the same focus score alike.
"""

from __future__ import annotations

import cv2
import numpy as np

NOISE = 16.0  # grey levels^2: keeps flat glass, whose only texture is JPEG noise, near zero


def focus_score(tiles: np.ndarray) -> np.ndarray:
    """Score the sharpness of tiles; higher is sharper, 0 is flat or fully blurred.

    A light blur before the Laplacian keeps sensor and JPEG noise out of the score. The ratio of
    variances does not depend on contrast, brightness or the number of pixels in the tile, only
    on how fine the structure is in pixels of the target resolution.

    Parameters
    ----------
    tiles : ndarray of uint8, shape (n, h, w, 3)
        RGB tiles, all at one resolution.

    Returns
    -------
    ndarray of float32, shape (n,)

    Raises
    ------
    ValueError
        When ``tiles`` is not a batch of 8-bit RGB images.
    """
    if tiles.ndim != 4 or tiles.shape[-1] != 3 or tiles.dtype != np.uint8:
        raise ValueError(f"tiles must be uint8 of shape (n, h, w, 3), not {tiles.dtype} {tiles.shape}")
    scores = np.empty(len(tiles), np.float32)
    for i, tile in enumerate(tiles):
        grey = cv2.cvtColor(np.ascontiguousarray(tile), cv2.COLOR_RGB2GRAY)
        edges = cv2.Laplacian(cv2.GaussianBlur(grey, (3, 3), 0), cv2.CV_16S)
        contrast = cv2.meanStdDev(grey)[1][0, 0] ** 2
        sharpness = cv2.meanStdDev(edges)[1][0, 0] ** 2
        scores[i] = sharpness / (contrast + NOISE)
    return scores
