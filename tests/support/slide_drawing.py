"""Small slides drawn for tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import tifffile


def draw_tissue(side: int = 2048, seed: int = 0) -> np.ndarray:
    """A pink and purple disc with nuclei on glass."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), 243, np.uint8)
    cv2.circle(image, (side // 2, side // 2), int(side * 0.36), (214, 150, 190), -1)
    for x, y in rng.normal(side / 2, side / 8, (side // 2, 2)).astype(int):
        cv2.circle(image, (int(x), int(y)), 5, (110, 70, 150), -1)
    noise = rng.normal(0, 3, image.shape)
    return np.clip(cv2.GaussianBlur(image, (3, 3), 0) + noise, 0, 255).astype(np.uint8)


def write_svs(
    path: Path, image: np.ndarray, factors: tuple[int, ...] = (4,), mpp: float | None = 0.25, **options
) -> Path:
    """Write an Aperio-like slide with the given pyramid."""
    height, width = image.shape[:2]
    text = f"Aperio Image Library v12.0.15\r\n{width}x{height} (256x256) JPEG/RGB Q=90|AppMag = 40"
    text += f"|MPP = {mpp}" if mpp else ""
    tiled = {"tile": (256, 256), "compression": "jpeg", "compressionargs": {"level": 90}, "photometric": "rgb"}
    tiled |= {"software": False, "metadata": None} | options
    with tifffile.TiffWriter(path) as tif:
        tif.write(image, description=text, **tiled)
        for factor in factors:
            small = cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
            tif.write(small, description=text, **tiled)
    return path
