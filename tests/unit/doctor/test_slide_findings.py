"""What doctor says of many slides: what cannot be opened first, the same thing once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mirror.doctor.slides import check_slides
from mirror.simulation.render import write_slide


def test_one_row_for_slides_of_which_the_same_is_said(tmp_path: Path) -> None:
    image = np.full((600, 600, 3), 200, np.uint8)
    slides = []
    for number in range(14):
        path = tmp_path / f"s{number:02d}.svs"
        write_slide(path, image, 0.8 if number < 12 else 0.5)
        slides.append({"slide_id": path.stem, "slide_path": str(path), "mpp": None})
    for name in ("s12", "s13"):
        (tmp_path / f"{name}.svs").write_text("the download failed\n")
    found = [f for f in check_slides("A", slides, {"max_failed_fraction": 0.5}, threads=2) if f.state != "ok"]
    said = {f.what: f for f in found}
    assert "12 of 14 open" in said["A: slides"].detail
    assert said["A: 12 slides"].detail.endswith("(first: s00, s01, s02)") and "enlarged" in said["A: 12 slides"].detail
    names = [f.what for f in found]
    assert names.index("A: 2 slides") < names.index("A: 12 slides")
    assert said["A: 2 slides"].detail.endswith("(first: s12, s13)") and "s12.svs" in said["A: 2 slides"].detail
    assert all("more" not in f.detail for f in found)


def test_slides_beyond_the_first_ten_are_counted(tmp_path: Path) -> None:
    image = np.full((300, 300, 3), 200, np.uint8)
    slides = []
    for number in range(13):  # each of another resolution, all coarser than the tiles
        path = tmp_path / f"s{number:02d}.svs"
        write_slide(path, image, 0.6 + 0.05 * number)
        slides.append({"slide_id": path.stem, "slide_path": str(path), "mpp": None})
    found = list(check_slides("A", slides, threads=2))
    assert found[-1].detail == "and 3 more (s10, s11, s12)" and found[-1].state == "warning"
