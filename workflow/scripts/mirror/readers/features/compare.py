"""Features of the slides of one encoder compared with each other: scaled, normalised, centred, in another order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

COLUMNS = ("norm", "spread", "offset", "negative", "order")
APART, FEW_APART = 2.0, 5.0
"""Least factor between a slide's usual vector length and the cohort's that is doubted, from `SEVERAL` slides, and
below. Pieces of real sections differ by up to 2.9 with an ImageNet encoder, their robust spread allows 3.3."""
SEVERAL, FEWEST = 8, 3
ROBUST_SDS = 8.0
EQUAL, VARIED = 1e-3, 0.01
CENTRED, OFF_CENTRE = 0.05, 0.25
SIGNED = 0.05
AGREED = 0.9
_ROWS = 1000


def signature(features: np.ndarray, coords: np.ndarray | None) -> dict[str, float | str]:
    """Describe a slide's features for the comparison with other slides.

    Parameters
    ----------
    features : (N, D) array of float
        Vectors in the order of the file; about a thousand of them are looked at.
    coords : (N, 2) array or None
        Top left corners x, y, in the order of the file.

    Returns
    -------
    dict
        ``norm``: median L2 length; ``spread``: interquartile range of lengths over their median; ``offset``: length
        of the mean vector over the median length; ``negative``: share of negative values; ``order``: ``x`` where
        tiles run along x first, ``y``, or empty.
    """
    some = features[:: max(1, len(features) // _ROWS)].astype(np.float32)
    out: dict[str, float | str] = dict.fromkeys(COLUMNS[:4], math.nan)
    if len(some):
        lengths = np.linalg.norm(some, axis=1)
        middle = float(np.median(lengths))
        out["norm"] = middle
        out["negative"] = float((some < 0).mean())
        if middle > 0 and math.isfinite(middle) and len(some) > 1:
            low, high = np.quantile(lengths, [0.25, 0.75])
            out["spread"] = float((high - low) / middle)
            out["offset"] = float(np.linalg.norm(some.mean(axis=0)) / middle)
    return out | {"order": "" if coords is None else running_order(coords)}


def running_order(coords: np.ndarray) -> str:
    """Return ``x`` where consecutive tiles mostly lie in one row, ``y`` for one column, empty where neither is sure."""
    places = np.asarray(coords)
    if len(places) < 10:
        return ""
    columns, rows = (len(np.unique(places[:, axis])) for axis in (0, 1))
    if min(len(places) / rows, len(places) / columns) < 2:  # a strip of one tile's width runs either way
        return ""
    steps = np.diff(places, axis=0)
    along_x, along_y = float((steps[:, 1] == 0).mean()), float((steps[:, 0] == 0).mean())
    if along_x >= 0.6 and along_y <= 0.2:
        return "x"
    return "y" if along_y >= 0.6 and along_x <= 0.2 else ""


@dataclass(frozen=True)
class Unlike:
    """Slides that differ from the others in one respect.

    Attributes
    ----------
    subject, text, remedy : str
        As of a fact.
    slides : tuple of str
        Their names, with a number where there is one.
    """

    subject: str
    text: str
    remedy: str
    slides: tuple[str, ...]


def unlike_slides(table: pd.DataFrame) -> list[Unlike]:
    """Compare the signatures of the slides of one encoder.

    Parameters
    ----------
    table : DataFrame
        Columns slide_id and `COLUMNS`, one row per slide with features.

    Returns
    -------
    list of Unlike
        Empty for fewer than three slides.
    """
    if len(table) < FEWEST:
        return []
    names = table["slide_id"].astype(str).to_numpy()
    values = {c: pd.to_numeric(table[c], errors="coerce").to_numpy(float) for c in COLUMNS[:4]}
    order = table["order"].fillna("").astype(str).to_numpy()
    found = [
        _lengths(names, values["norm"]),
        _normalised(names, values["norm"], values["spread"]),
        _centred(names, values["offset"]),
        _signs(names, values["negative"]),
        _turned(names, order),
    ]
    return [one for one in found if one is not None]


_ONE_WAY = "extract all slides with one encoder, and with no scaling in between"


def _lengths(names: np.ndarray, norm: np.ndarray) -> Unlike | None:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(norm)
    known = np.isfinite(logs)
    if known.sum() < FEWEST:
        return None
    off = logs - np.median(logs[known])
    bound = math.log(FEW_APART)
    if known.sum() >= SEVERAL:
        bound = max(math.log(APART), ROBUST_SDS * 1.4826 * float(np.median(np.abs(off[known]))))
    odd = known & (np.abs(off) > bound)
    if not odd.any():
        return None
    text = (
        f"vectors of {odd.sum()} of {len(names)} slides differ in length from the median slide's by a factor above "
        f"{math.exp(bound):.3g}: scaled, normalised, or of another model"
    )
    return Unlike("length of features", text, _ONE_WAY, _with(names[odd], {
        name: f"x {math.exp(value):.3g}" for name, value in zip(names[odd], off[odd], strict=True)
    }))  # fmt: skip


def _normalised(names: np.ndarray, norm: np.ndarray, spread: np.ndarray) -> Unlike | None:
    if not np.isfinite(spread).any() or not np.nanmedian(spread) > VARIED:
        return None
    odd = spread < EQUAL
    if not odd.any():
        return None
    text = (
        f"all vectors of {odd.sum()} of {len(names)} slides have one length, those of the others vary: normalised on "
        "some slides only"
    )
    lengths = {name: f"length {value:.3g}" for name, value in zip(names[odd], norm[odd], strict=True)}
    return Unlike("normalised features", text, _ONE_WAY, _with(names[odd], lengths))


def _centred(names: np.ndarray, offset: np.ndarray) -> Unlike | None:
    if not np.isfinite(offset).any() or not np.nanmedian(offset) > OFF_CENTRE:
        return None
    odd = offset < CENTRED
    if not odd.any():
        return None
    text = (
        f"the mean vector of {odd.sum()} of {len(names)} slides is zero, that of the others is not: centred or "
        "standardised slide by slide"
    )
    return Unlike("centred features", text, _ONE_WAY, tuple(names[odd]))


def _signs(names: np.ndarray, negative: np.ndarray) -> Unlike | None:
    known = np.isfinite(negative)
    if not known.any():
        return None
    usual = float(np.median(negative[known]))
    odd = known & (
        (negative == 0) if usual > SIGNED else (negative > SIGNED) if usual == 0 else np.zeros(len(names), bool)
    )
    if not odd.any():
        return None
    how = "no negative values, the others have" if usual > SIGNED else "negative values, the others have none"
    text = f"{odd.sum()} of {len(names)} slides have {how}: of another model or layer, or centred"
    return Unlike("signs of features", text, _ONE_WAY, tuple(names[odd]))


def _turned(names: np.ndarray, order: np.ndarray) -> Unlike | None:
    along = {axis: int((order == axis).sum()) for axis in "xy"}
    usual, other = ("x", "y") if along["x"] >= along["y"] else ("y", "x")
    odd = order == other
    few = odd.sum() <= max(1, (1 - AGREED) * sum(along.values()))
    if not odd.any() or along[usual] < FEWEST or not few:
        return None
    text = (
        f"tiles of {odd.sum()} of {len(names)} slides run along {other} first, those of {along[usual]} along {usual}: "
        "x and y of their coordinates may be exchanged"
    )
    remedy = "compare them with the slide; coordinates are x, then y, of the top left corner"
    return Unlike("order of tiles", text, remedy, tuple(names[odd]))


def _with(names: np.ndarray, more: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name} {more[name]}" for name in names)
