"""Whether the colours of tissue are those of H&E in RGB: exchanged channels, or another stain."""

from __future__ import annotations

import cv2
import numpy as np

EXCHANGED = -0.12
"""`dark_against_pale` below this is doubted. Real H&E slides gave 0.00 to 1.03, pieces of them -0.09 at the least."""
LEAST_PIXELS = 500
_SAMPLED = 200_000


def dark_against_pale(rgb: np.ndarray, tissue: np.ndarray) -> float:
    """How much bluer the darkest tissue is than the palest.

    Haematoxylin is darker than eosin and absorbs red more than blue, eosin blue more than red (Ruifrok and Johnston,
    2001). So the ratio of the optical densities of red and blue is greater among dark pixels than among pale ones,
    whatever the scanner's balance of colours. With red and blue exchanged the sign changes.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (h, w, 3)
        Overview.
    tissue : ndarray, shape (h', w')
        Tissue mask of the same region, bool or shares.

    Returns
    -------
    float
        Natural logarithm of (density of red / density of blue) in the darkest quarter of the tissue, less that in
        the palest quarter; NaN for fewer than `LEAST_PIXELS` pixels.
    """
    mask = tissue > 0.5 if tissue.dtype != bool else tissue
    if mask.shape != rgb.shape[:2]:
        mask = cv2.resize(mask.astype(np.uint8), rgb.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    pixels = rgb[mask]
    pixels = pixels[:: max(1, len(pixels) // _SAMPLED)].astype(np.float64)
    if len(pixels) < LEAST_PIXELS:
        return float("nan")
    density = -np.log((pixels + 1) / 256)  # of white, not of the slide's glass: pale tissue may equal that
    total = density.sum(axis=1)
    pale, dark = np.quantile(total, [0.25, 0.75])
    ratios = []
    for part in (total >= dark, total <= pale):
        red, _, blue = density[part].sum(axis=0)
        if red <= 0 or blue <= 0:
            return float("nan")
        ratios.append(np.log(red / blue))
    return float(ratios[0] - ratios[1])


def colour_note(rgb: np.ndarray, tissue: np.ndarray) -> str:
    """One clause where the colours are not those of H&E in RGB, empty otherwise; parameters of `dark_against_pale`."""
    found = dark_against_pale(rgb, tissue)
    if not found < EXCHANGED:
        return ""
    return (
        f"colours are not those of H&E: the darkest tissue is redder than the palest (log ratio {found:.2f}, below "
        f"{EXCHANGED:g}), so red and blue seem to be exchanged (BGR), or the stain is another"
    )
