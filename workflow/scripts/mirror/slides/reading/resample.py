"""Shrinking pixels by area averaging, from windows that need not start on a whole pixel."""

from __future__ import annotations

import cv2
import numpy as np

# Second resampling after DCT-domain halving, by how much is left to shrink: the interpolation
# nearest to area averaging of the full-size pixels, several times faster than averaging again.
CUBIC_UP_TO, LINEAR_UP_TO = 1.16, 1.45


def resample(
    window: np.ndarray, x: float, y: float, width: float, height: float, out: np.ndarray, *, exact: bool = True
) -> np.ndarray:
    """Resample a box of ``window`` into ``out``.

    Parameters
    ----------
    window : ndarray of uint8, shape (h, w, 3)
        Source pixels.
    x, y, width, height : float
        The box, in pixels of ``window``; may start and end inside a pixel.
    out : ndarray of uint8, shape (H, W, 3), contiguous
        Written in place.
    exact : bool
        True: area averaging. False: cubic or linear where little is left to shrink.

    Returns
    -------
    ndarray
        ``out``.
    """
    rows, cols = out.shape[:2]
    if float(x).is_integer() and float(y).is_integer() and float(width).is_integer() and float(height).is_integer():
        source = window[int(y) : int(y) + int(height), int(x) : int(x) + int(width)]
    else:
        source = _whole_pixels(window, x, y, width, height)
    if source.shape[:2] == (rows, cols):
        out[:] = source
        return out
    left = max(source.shape[1] / cols, source.shape[0] / rows)
    how = cv2.INTER_AREA
    if not exact and left <= LINEAR_UP_TO:
        how = cv2.INTER_CUBIC if left <= CUBIC_UP_TO else cv2.INTER_LINEAR
    cv2.resize(source, (cols, rows), dst=out, interpolation=how)
    return out


def _whole_pixels(window: np.ndarray, x: float, y: float, width: float, height: float) -> np.ndarray:
    """Shift a box that starts or ends inside a pixel onto whole pixels, bilinearly."""
    w, h = max(1, round(width)), max(1, round(height))
    step_x, step_y = width / w, height / h
    shift = np.array([[step_x, 0, x + 0.5 * step_x - 0.5], [0, step_y, y + 0.5 * step_y - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(window, shift, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)
