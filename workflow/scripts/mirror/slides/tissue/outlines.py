"""Outlines of a mask along the edges of its pixels, as simple polygons with holes."""

from __future__ import annotations

from collections import defaultdict

import cv2
import numpy as np


def outlines(mask: np.ndarray, bounds: tuple[int, int, int, int]) -> list[list[np.ndarray]]:
    """Trace the pieces of a mask in level-0 pixels.

    The polygons cover the mask's pixels exactly. Pixels that meet at a corner alone belong to
    different pieces, and no ring touches itself, so that every polygon is valid.

    Parameters
    ----------
    mask : ndarray, shape (h, w)
        Nonzero where set; spread over ``bounds``.
    bounds : tuple of int
        x, y, width, height of the mask, level-0 pixels.

    Returns
    -------
    list of list of ndarray, shape (n, 2)
        For each piece its closed outer ring and the rings of its holes.
    """
    scale = np.array([bounds[2] / mask.shape[1], bounds[3] / mask.shape[0]])
    found: dict[int, list[tuple[float, np.ndarray]]] = defaultdict(list)
    corners, pieces, along_x, along_y = _corners((mask > 0).astype(np.uint8))
    points = list(map(tuple, corners.tolist()))
    for nodes in _cycles(along_x.tolist(), along_y.tolist()):
        for ring in _simple([points[k] for k in nodes]):
            closed = np.array([*ring, ring[0]], float)
            found[int(pieces[nodes[0]])].append((_area(closed), closed * scale + bounds[:2]))
    # of a piece's rings the outer one encloses all others
    return [[ring for _, ring in sorted(rings, key=lambda r: -r[0])] for _, rings in sorted(found.items())]


def _corners(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Corners of the outlines and how edges join them.

    Where two pixels meet at a corner alone it counts twice, once for each pixel.

    Returns
    -------
    corners : ndarray of int64, shape (n, 2)
        x, y.
    pieces : ndarray of int64, shape (n,)
        The 4-connected piece that a corner belongs to.
    along_x, along_y : ndarray of int64, shape (n,)
        The corner at the other end of a corner's edge along x, and along y.
    """
    _, labels = cv2.connectedComponents(inside, connectivity=4)
    padded = np.pad(labels, 1)
    # the four pixels around each corner, clockwise from the upper left
    around = np.stack([padded[:-1, :-1], padded[:-1, 1:], padded[1:, 1:], padded[1:, :-1]], -1)
    there = around > 0
    count = there.sum(-1)
    y, x = np.nonzero((count == 1) | (count == 3))
    # the only pixel, or of three the one that shares an edge with both others
    pixel = np.where(count[y, x] == 1, there[y, x].argmax(-1), ((~there[y, x]).argmax(-1) + 2) % 4)
    y2, x2 = np.nonzero((count == 2) & (there[..., 0] == there[..., 2]))
    upper = np.where(there[y2, x2, 0], 0, 1)  # upper left or upper right; the other pixel lies opposite
    corners = np.stack([np.concatenate([x, x2, x2]), np.concatenate([y, y2, y2])], -1)
    pieces = np.concatenate([around[y, x, pixel], around[y2, x2, upper], around[y2, x2, upper + 2]])
    # Along a line of corners each edge ends where the next one has not begun: they pair up in turn. A corner
    # that counts twice ends an edge with one pixel (left along x, upper along y) and begins one with the other.
    plain, later = np.zeros(len(x), int), np.ones(len(x2), int)
    begins_x = np.concatenate([plain, upper, 1 - upper])
    begins_y = np.concatenate([plain, 1 - later, later])
    along_x = _pairs(np.lexsort((begins_x, corners[:, 0], corners[:, 1])))
    along_y = _pairs(np.lexsort((begins_y, corners[:, 1], corners[:, 0])))
    return corners, pieces, along_x, along_y


def _pairs(order: np.ndarray) -> np.ndarray:
    """Each element's partner where the elements pair up in this order."""
    partner = np.empty_like(order)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    return partner


def _cycles(along_x: list[int], along_y: list[int]) -> list[list[int]]:
    """Closed paths along x and along y in turn."""
    seen, cycles = [False] * len(along_x), []
    for start in range(len(along_x)):
        if seen[start]:
            continue
        path, at = [], start
        while not seen[at]:
            across = along_x[at]
            seen[at] = seen[across] = True
            path += [at, across]
            at = along_y[across]
        cycles.append(path)
    return cycles


def _simple(ring: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Split a ring wherever it comes back to a point."""
    rings: list[list[tuple[int, int]]] = []
    path: list[tuple[int, int]] = []
    places: dict[tuple[int, int], int] = {}
    for point in ring:
        if point in places:
            back = places[point]
            rings.append(path[back:])
            for left in path[back + 1 :]:
                del places[left]
            del path[back + 1 :]
        else:
            places[point] = len(path)
            path.append(point)
    return [*rings, path]


def _area(ring: np.ndarray) -> float:
    """Area of a closed ring (n, 2)."""
    x, y = ring.T
    return abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))) / 2
