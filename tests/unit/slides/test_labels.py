"""Label and macro pictures, and what a scanner writes about a patient, never reach an output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from made_slides import RED, red_picture, write_dicom, write_ndpi, write_scn
from mirror.config.slides import SlideSettings
from mirror.io.tiles import read_tiles
from mirror.slides.reading.iterate import iterate_tiles
from mirror.slides.reading.open import open_slide
from mirror.slides.tiling.shard import tile_shard
from slide_drawing import draw_tissue

SECRETS = (b"SECRET", b"U0VDUkVU")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return draw_tissue(1024)


def write(folder: Path, kind: str, image: np.ndarray) -> Path:
    """A slide of one kind with a label or macro, or both, inside or beside it."""
    if kind == "ndpi":
        return write_ndpi(folder / "s.ndpi", image)
    if kind == "scn":
        return write_scn(folder / "s.scn", image)
    if kind == "svs":
        path = folder / "s.svs"
        text = f"Aperio Image Library v12.0.15\r\n1024x1024 (256x256) JPEG/RGB Q=90|MPP = 0.25|Patient = SECRET{kind}"
        jpeg = {"compression": "jpeg", "photometric": "rgb", "metadata": None, "software": False}
        with tifffile.TiffWriter(path) as tif:
            tif.write(image, tile=(256, 256), description=text, **jpeg)
            for name, flag in (("label", 1), ("macro", 9)):
                said = f"Aperio Image Library v12.0.15\r\n{name} 1500x1200"
                tif.write(red_picture(1500, 1200), rowsperstrip=1200, description=said, subfiletype=flag, **jpeg)
        return path
    own = folder / "series"
    own.mkdir()
    secret = {"PatientName": "SECRET^NAME", "ContainerIdentifier": "SECRET-1"}
    write_dicom(own / "1.dcm", red_picture(700, 500), flavour="LABEL", **secret)
    write_dicom(own / "2.dcm", red_picture(1400, 600), flavour="OVERVIEW", **secret)
    write_dicom(own / "3.dcm", image, **secret)
    write_dicom(own / "4.dcm", image[::4, ::4].copy(), **secret)
    return own if kind == "dicom folder" else own / kind.split()[1]


def is_red(pixels: np.ndarray) -> float:
    """Share of pixels of the labels' colour."""
    return float((np.abs(pixels.astype(int) - RED).max(axis=-1) < 40).mean())


@pytest.mark.parametrize("kind", ["ndpi", "scn", "svs", "dicom folder", "dicom 3.dcm", "dicom 4.dcm", "dicom 1.dcm"])
def test_label_and_macro_reach_no_output(tmp_path: Path, image: np.ndarray, kind: str):
    path = write(tmp_path, kind, image)
    file = path if path.is_file() else path / "3.dcm"
    with openslide.OpenSlide(file) as handle:  # the file is what it says: there is something to keep back
        assert handle.associated_images and all(
            is_red(np.asarray(p)[..., :3]) for p in handle.associated_images.values()
        )
    out = tmp_path / "out"
    settings = SlideSettings(tile={"size_px": 64}, thumbnail_px=512)
    row = {"slide_id": "s", "patient_id": "P", "slide_path": str(path)}
    found = tile_shard([row], settings, out, out / "status.tsv").iloc[0]
    assert found["status"] == "ok" and found["mpp"] == pytest.approx(0.25, rel=0.01), found["message"]
    tiles = read_tiles(out / "tiles" / "s.h5")
    for backend in ("auto", "openslide"):
        with open_slide(path, backend) as slide:
            for _, pixels in iterate_tiles(slide, tiles.coords, 128, 64, backend=backend):
                assert is_red(pixels) == 0
            if kind != "scn":  # a Leica's canvas is larger than the scan
                centre = slide.read(0, 480, 480, 64, 64).astype(int)
                assert np.abs(centre - image[480:544, 480:544]).mean() < 12
    for written in (p for p in out.rglob("*") if p.is_file()):
        assert not any(secret in written.read_bytes() for secret in SECRETS), written
        if written.suffix in (".jpg", ".png"):
            with Image.open(written) as picture:
                assert is_red(np.asarray(picture.convert("RGB"))) < 0.001, written
