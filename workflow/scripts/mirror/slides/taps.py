"""Cutting resized tiles straight out of decoded JPEG tiles, and normalising them, in compiled loops.

A tile is resized by two passes over rows, with a transposition after each: a pass over rows mixes
whole contiguous rows, which compiles to vector instructions, while a pass along a row does not.
Integer arithmetic throughout, so that every machine gives the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numba
import numpy as np

from .resample import CUBIC_UP_TO, LINEAR_UP_TO

CUBIC = -0.75  # OpenCV's coefficient
ONE = 128  # the weight 1: 8-bit pixels less 128, times weights, fit 16 bits with room for overshoot


def _compiled(signature: str) -> Callable[[Callable], Callable]:
    """Compile when imported, kept on disk where a folder can be written."""

    def wrap(function: Callable) -> Callable:
        options = {"nogil": True, "error_model": "numpy"}
        try:
            return numba.njit(signature, cache=True, **options)(function)
        except RuntimeError:  # nowhere to keep it
            return numba.njit(signature, **options)(function)

    return wrap


@_compiled("(u1[:,:,::1],i8[:,:],i8,i8,i8,i8,i8[::1],i2[:,::1],i2[::1],u1[:,::1])")
def _mix(pool, slots, left, top, width, height, first, weights, row, out):  # type: ignore[no-untyped-def]
    """Mix four source rows into each output row; rows lie in the pieces of ``pool`` named by ``slots``."""
    tile_h, step = pool.shape[1], pool.shape[2]
    for y in range(first.shape[0]):
        w0, w1, w2, w3 = weights[y, 0], weights[y, 1], weights[y, 2], weights[y, 3]
        i = first[y]
        r0 = min(max(i, 0), height - 1) + top
        r1 = min(max(i + 1, 0), height - 1) + top
        r2 = min(max(i + 2, 0), height - 1) + top
        r3 = min(max(i + 3, 0), height - 1) + top
        start, column, done = 3 * left, 0, 0
        while done < 3 * width:
            n = min(step - start, 3 * width - done)
            a = pool[slots[r0 // tile_h, column], r0 % tile_h, start : start + n]
            b = pool[slots[r1 // tile_h, column], r1 % tile_h, start : start + n]
            c = pool[slots[r2 // tile_h, column], r2 % tile_h, start : start + n]
            d = pool[slots[r3 // tile_h, column], r3 % tile_h, start : start + n]
            o = out[y, done : done + n]
            # centred on grey: 128 * 128 taken off, half a grey level added for rounding
            for k in range(n):
                row[k] = a[k] * w0 + b[k] * w1 + c[k] * w2 + d[k] * w3 - 16320
            for k in range(n):
                o[k] = min(max((row[k] >> 7) + 128, 0), 255)
            start, column, done = 0, column + 1, done + n


@_compiled("(u1[:,::1],f4[::1],f4[::1],f4[:,::1])")
def _scale(pixels, scale, shift, out):  # type: ignore[no-untyped-def]
    for y in range(pixels.shape[0]):
        a, o = pixels[y], out[y]
        for k in range(a.shape[0]):
            o[k] = a[k] * scale[k] + shift[k]


def normalise(tiles: np.ndarray, scale: np.ndarray, shift: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Bring tiles to ``tile * scale + shift`` in one pass over memory.

    Parameters
    ----------
    tiles : ndarray of uint8, shape (n, h, w, 3), contiguous
    scale, shift : ndarray of float32, shape (3,)
        By channel.
    out : ndarray of float32, shape (at least n, h, w, 3), contiguous, optional
        Where to write.

    Returns
    -------
    ndarray of float32, shape (n, h, w, 3)
    """
    n, h, w, _ = tiles.shape
    out = np.empty(tiles.shape, np.float32) if out is None else out[:n]
    columns = [np.tile(np.asarray(v, np.float32).ravel(), w) for v in (scale, shift)]
    _scale(tiles.reshape(n * h, w * 3), *columns, out.reshape(n * h, w * 3))
    return out


def takes(side: float, out_px: int) -> bool:
    """Whether `Cutter` resizes ``side`` pixels to ``out_px``: whole, and little is left to shrink."""
    return float(side).is_integer() and 1 < side / out_px <= LINEAR_UP_TO


class Cutter:
    """Cuts square boxes out of a grid of decoded tiles and resizes them; not to be shared by threads.

    The result is that of OpenCV's cubic interpolation (linear where more is left to shrink), but
    that it is rounded to 8 bits between the passes.

    Parameters
    ----------
    side, out_px : int
        Side of a box and of what becomes of it, pixels.
    tile_w : int
        Width of a decoded tile, pixels.
    """

    def __init__(self, side: int, out_px: int, tile_w: int) -> None:
        self.side, self.out_px = side, out_px
        row = np.empty(3 * max(tile_w, out_px), np.int16)
        self._table = (*_table(side, out_px), row)
        self._flat = np.empty((out_px, side, 3), np.uint8)
        self._turned = np.empty((side, out_px, 3), np.uint8)
        self._small = np.empty((out_px, out_px, 3), np.uint8)
        self._here = np.zeros((1, 1), np.int64)

    def cut(self, pool: np.ndarray, slots: np.ndarray, left: int, top: int, out: np.ndarray) -> None:
        """Cut one box.

        Parameters
        ----------
        pool : ndarray of uint8, shape (s, tile height, 3 * tile width), contiguous
            Decoded tiles.
        slots : ndarray of int64, shape (rows, columns)
            The places in ``pool`` of the tiles that the box touches.
        left, top : int
            Where the box begins in the first of them, pixels.
        out : ndarray of uint8, shape (out_px, out_px, 3), contiguous
            Written in place.
        """
        side, px = self.side, self.out_px
        _mix(pool, slots, left, top, side, side, *self._table, self._flat.reshape(px, 3 * side))
        cv2.transpose(self._flat, self._turned)
        turned = self._turned.reshape(1, side, 3 * px)
        _mix(turned, self._here, 0, 0, px, side, *self._table, self._small.reshape(px, 3 * px))
        cv2.transpose(self._small, out)


def _table(side: int, out_px: int) -> tuple[np.ndarray, np.ndarray]:
    """First of the four source pixels, and their weights in 128ths, for each output pixel."""
    step = side / out_px
    centre = (np.arange(out_px) + 0.5) * step - 0.5
    first = np.floor(centre).astype(np.int64)
    f = centre - first
    weights = np.zeros((out_px, 4))
    if step <= CUBIC_UP_TO:
        weights[:, 0] = ((CUBIC * (f + 1) - 5 * CUBIC) * (f + 1) + 8 * CUBIC) * (f + 1) - 4 * CUBIC
        weights[:, 1] = ((CUBIC + 2) * f - (CUBIC + 3)) * f**2 + 1
        weights[:, 2] = ((CUBIC + 2) * (1 - f) - (CUBIC + 3)) * (1 - f) ** 2 + 1
        weights[:, 3] = 1 - weights[:, :3].sum(1)
    else:
        weights[:, 1], weights[:, 2] = 1 - f, f
    whole = np.rint(weights * ONE).astype(np.int16)
    whole[np.arange(out_px), np.abs(weights).argmax(1)] += (ONE - whole.sum(1)).astype(np.int16)
    return first - 1, whole
