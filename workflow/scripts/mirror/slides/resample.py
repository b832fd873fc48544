"""Shrinking pixels by area averaging, from windows that need not start on a whole pixel."""

from __future__ import annotations

import cv2
import numpy as np

LINEAR_UP_TO = 1.2  # residual scale below which bilinear sampling and area averaging agree (PSNR measured in tests)


def resample(
    window: np.ndarray,
    x: float,
    y: float,
    width: float,
    height: float,
    out: np.ndarray,
    *,
    exact: bool = True,
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
        True: area averaging. False: where the box is at most ``LINEAR_UP_TO`` times the output,
        bilinear sampling, which is several times faster; used after DCT-domain scaling, whose
        own deviation is larger.

    Returns
    -------
    ndarray
        ``out``.
    """
    rows, cols = out.shape[:2]
    whole = float(x).is_integer() and float(y).is_integer() and float(width).is_integer() and float(height).is_integer()
    near = width <= LINEAR_UP_TO * cols and height <= LINEAR_UP_TO * rows
    if whole:
        x0, y0, w, h = int(x), int(y), int(width), int(height)
        source = window[y0 : y0 + h, x0 : x0 + w]
    else:
        if near:
            w, h = cols, rows
        else:
            w, h = max(1, round(width)), max(1, round(height))
        step_x, step_y = width / w, height / h
        shift = np.array([[step_x, 0, x + 0.5 * step_x - 0.5], [0, step_y, y + 0.5 * step_y - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        source = cv2.warpAffine(window, shift, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if source.shape[:2] == (rows, cols):
        out[:] = source
    elif near and not exact:
        cv2.resize(source, (cols, rows), dst=out, interpolation=cv2.INTER_LINEAR)
    else:
        cv2.resize(source, (cols, rows), dst=out, interpolation=cv2.INTER_AREA)
    return out
