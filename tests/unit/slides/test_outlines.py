"""Outlines as polygons: exact, valid, with holes."""

from __future__ import annotations

from itertools import pairwise

import cv2
import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from mirror.slides.tissue.outlines import outlines


def area(ring: np.ndarray) -> float:
    x, y = ring.T
    return abs(float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())) / 2


def inside(rings: list[np.ndarray], x: float, y: float) -> bool:
    """Whether a point lies in a polygon with holes, by crossings."""
    crossings = 0
    for ring in rings:
        for (x0, y0), (x1, y1) in pairwise(ring.tolist()):
            crossings += (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
    return crossings % 2 == 1


@settings(max_examples=200, deadline=None)
@given(mask=arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_the_polygons_are_the_mask(mask: np.ndarray) -> None:
    height, width = mask.shape
    pieces = outlines(mask, (100, 50, 4 * width, 2 * height))
    assert len(pieces) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1
    assert sum(area(rings[0]) - sum(map(area, rings[1:])) for rings in pieces) == 8 * mask.sum()
    for y in range(height):
        for x in range(width):
            hits = sum(inside(rings, 100 + 4 * x + 2, 50 + 2 * y + 1) for rings in pieces)
            assert hits == mask[y, x]
    for ring in (ring for rings in pieces for ring in rings):
        assert (ring[0] == ring[-1]).all() and len(ring) >= 5
        assert len({tuple(p) for p in ring[:-1].tolist()}) == len(ring) - 1, "a ring that touches itself"


def test_a_hole_is_the_second_ring() -> None:
    mask = np.ones((6, 8), bool)
    mask[2:4, 3:6] = False
    ((outer, hole),) = outlines(mask, (0, 0, 80, 60))
    assert area(outer) == 4800 and area(hole) == 600
    assert hole.min(axis=0).tolist() == [30, 20] and hole.max(axis=0).tolist() == [60, 40]


def test_an_empty_mask_has_no_outline() -> None:
    assert outlines(np.zeros((5, 5), bool), (0, 0, 10, 10)) == []
