"""The tissue mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DARK = 50  # all channels below this (0-255): black border, black pen, or unlit

DARK_SLIDE = 0.9  # share of dark pixels above which the slide is taken for fluorescence


@dataclass(frozen=True)
class TissueMask:
    """What was found on the scanned region.

    Attributes
    ----------
    tissue : ndarray, shape (h, w)
        bool, or float32 share of each mask pixel (published recipe, reduced from full resolution).
    pen : ndarray of bool, shape (h, w)
    mpp : float
        Micrometres per mask pixel.
    note : str
        What the status table should say; empty when nothing is odd.
    """

    tissue: np.ndarray
    pen: np.ndarray
    mpp: float
    note: str = ""
