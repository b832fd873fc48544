"""What is drawn for people: the thumbnail shows outlines and kept tiles, and no other picture is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from mirror.config.slides import SlideSettings
from mirror.slides.tiling import tile
from mirror.slides.tiling.tile import tile_slide

PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2"}


def thumbnail(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_outlines_and_kept_tiles_are_drawn(tmp_path: Path, tissue_svs: Path, monkeypatch):
    """Each changes pixels of its own; the glass in the corner stays as it was scanned."""
    drawn = tile.write_thumbnail
    keep = {"outlines and tiles": (True, True), "outlines": (True, False), "tiles": (False, True), "": (False, False)}
    seen = {}
    for name, (with_shapes, with_tiles) in keep.items():

        def draw(path, overview, bounds, shapes, kept, longer_px, with_shapes=with_shapes, with_tiles=with_tiles):
            shapes = shapes if with_shapes else {key: [] for key in shapes}
            kept = kept if with_tiles else replace(kept, coords=kept.coords[:0])
            drawn(path, overview, bounds, shapes, kept, longer_px)

        monkeypatch.setattr(tile, "write_thumbnail", draw)
        tile_slide(tissue_svs, f"disc{len(seen)}", tmp_path, SlideSettings(tile={"size_px": 64}, thumbnail_px=512))
        seen[name] = thumbnail(tmp_path / "qc" / f"disc{len(seen)}.jpg")
    plain = seen[""]

    def changed(name: str) -> np.ndarray:
        return np.abs(seen[name] - plain).max(-1) > 15  # a tint, and more than JPEG alone changes

    assert not changed("").any()
    ring, squares, both = changed("outlines"), changed("tiles"), changed("outlines and tiles")
    # The disc's outline is a thin ring, 0.36 of the side from the middle.
    y, x = np.nonzero(ring)
    radius = np.hypot(x - 256, y - 256) / 512
    assert len(y) > 300 and 0.33 < np.quantile(radius, 0.02) < np.quantile(radius, 0.98) < 0.39
    # Kept tiles lie side by side over the disc.
    disc = np.pi * (0.36 * 512) ** 2
    assert 0.85 * disc < squares.sum() < 1.25 * disc and squares[200:312, 200:312].mean() > 0.95
    assert (both | ~ring).mean() > 0.99 and both.sum() > squares.sum()
    assert not both[:40, :40].any() and not both[-40:, -40:].any()


def test_no_picture_of_a_tile_is_left_on_disk(tmp_path: Path, tissue_svs: Path):
    for number, preset in enumerate((None, "published")):
        tile_slide(tissue_svs, f"disc{number}", tmp_path, SlideSettings(**({"preset": preset} if preset else {})))
    found = [path for path in tmp_path.rglob("*") if path.suffix.lower() in PICTURES]
    assert found and {path.parent.name for path in found} == {"qc"} and len(found) == 2
