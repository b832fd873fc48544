"""Render a simulated slide as a real pyramidal, tiled JPEG TIFF in Aperio's manner.

What the factors change (one standard deviation moves a quantity by 15 to 35 %, within what a
pathologist calls variation between tumours):

shared_0 nuclear density, shared_1 nuclear size, shared_2 haematoxylin, shared_3 tumour share;
slide_0 eosin, slide_1 nuclear elongation, slide_2 lumina, slide_3 collagen texture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from ..core.atomic import atomic_path

MPP = 0.25  # 40x
GLASS = 243
# Stain vectors (optical density of R, G, B) of haematoxylin and eosin: Ruifrok and Johnston 2001.
HEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN = np.array([0.07, 0.99, 0.11], np.float32)


def _field(side: int, cell_px: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise, float32 (side, side), mean 0 and SD 1, varying over about ``cell_px``."""
    n = max(4, side // cell_px + 3)
    coarse = cv2.resize(rng.standard_normal((n, n)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return (coarse - coarse.mean()) / (coarse.std() + 1e-6)


def render_region(factors: dict[str, float], side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one piece of tissue on glass.

    Parameters
    ----------
    factors : dict
        ``shared_0`` ... ``slide_3``, standard normal.
    side : int
        Side in level-0 pixels (0.25 um each).

    Returns
    -------
    uint8 (side, side, 3), RGB
    """
    f = {name: float(np.clip(value, -2.5, 2.5)) for name, value in factors.items()}
    low = side // 4  # stains vary slowly, so they are drawn at a quarter and enlarged
    y, x = np.mgrid[-1 : 1 : low * 1j, -1 : 1 : low * 1j].astype(np.float32)
    tissue = (np.hypot(x, y) + 0.12 * _field(low, low // 6, rng)) < 0.86
    tumour = _field(low, low // 8, rng) < 0.35 + 0.5 * f["shared_3"]
    lumina = (_field(low, low // 24, rng) > 2.0 - 0.45 * f["slide_2"]) & tissue
    fibres = _field(low, max(3, low // 160), rng)
    eosin = 0.32 * np.exp(0.3 * f["slide_0"]) * (1 + 0.16 * np.exp(0.4 * f["slide_3"]) * fibres)
    eosin = np.where(tumour, 0.75 * eosin, eosin) * tissue * ~lumina
    body = np.where(tumour, 0.11, 0.05).astype(np.float32) * tissue * ~lumina

    area_mm2 = (side * MPP / 1000) ** 2
    nuclei = np.zeros((side, side), np.float32)
    count = int(area_mm2 * 2600 * np.exp(0.32 * f["shared_0"]))
    centres = rng.integers(0, side, size=(count, 2))
    at = tumour[centres[:, 1] * low // side, centres[:, 0] * low // side]
    on = (tissue & ~lumina)[centres[:, 1] * low // side, centres[:, 0] * low // side]
    keep = on & (at | (rng.random(count) < 0.35))  # stroma holds about a third as many nuclei
    radius = rng.normal(13.0, 1.8, count) * np.exp(0.18 * f["shared_1"]) * np.where(at, 1.0, 0.7)
    stretch = 1.0 + 0.35 * np.exp(0.45 * f["slide_1"]) * rng.random(count)
    angle = rng.uniform(0, 180, count)
    ink = rng.normal(0.85, 0.12, count) * np.exp(0.28 * f["shared_2"])
    for i in np.flatnonzero(keep):
        axes = (max(2, int(radius[i] * stretch[i])), max(2, int(radius[i] / stretch[i])))
        cv2.ellipse(
            nuclei, (int(centres[i, 0]), int(centres[i, 1])), axes, angle[i], 0, 360, float(max(ink[i], 0.2)), -1
        )
    nuclei = cv2.GaussianBlur(nuclei, (0, 0), 1.6)  # type: ignore[assignment]

    big_eosin = cv2.resize(eosin.astype(np.float32), (side, side))
    big_body = cv2.resize(body, (side, side))
    out = np.empty((side, side, 3), np.uint8)
    for channel in range(3):
        density = HEMATOXYLIN[channel] * (nuclei + big_body) + EOSIN[channel] * big_eosin
        out[..., channel] = np.clip(GLASS * np.exp(-1.5 * density) + 0.5, 0, 255)
    noise = rng.integers(0, 7, size=(256, 256, 1), dtype=np.uint8)  # sensor noise, one plate for the slide
    tiled = np.tile(noise, (-(-side // 256), -(-side // 256), 1))[:side, :side]
    return cv2.subtract(out, np.repeat(tiled, 3, 2))


def write_slide(path: str | Path, image: np.ndarray, mpp: float = MPP) -> None:
    """Write ``image`` (uint8 RGB) as an SVS that OpenSlide opens: levels 1, 4 and 16, 256 px JPEG tiles."""
    height, width = image.shape[:2]
    head = "Aperio Image Library v12.0.15\r\n"
    text = f"{head}{width}x{height} [0,0 {width}x{height}] (256x256) JPEG/RGB Q=80|AppMag = {10 / mpp:g}|MPP = {mpp:g}"
    tiles: dict[str, Any] = {
        "tile": (256, 256),
        "compression": "jpeg",
        "compressionargs": {"level": 80},
        "photometric": "rgb",
    }

    def shrunk(factor: int) -> np.ndarray:
        return cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_AREA)

    with atomic_path(path) as part, tifffile.TiffWriter(part) as tif:
        tif.write(image, description=text, software=False, metadata=None, **tiles)
        thumb = shrunk(max(4, max(width, height) // 512))
        tif.write(
            thumb,
            description=f"{head} -> {thumb.shape[1]}x{thumb.shape[0]}",
            compression="jpeg",
            rowsperstrip=16,
            software=False,
            metadata=None,
        )
        for factor in (4, 16):
            if min(width, height) // factor >= 64:
                tif.write(shrunk(factor), description=text, software=False, metadata=None, **tiles)
