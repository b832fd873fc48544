"""DICOM slides, made with pydicom: a series in a folder, and files that are no whole-slide image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian

from made_slides import red_picture, write_dicom
from mirror.config.slides import SlideSettings
from mirror.core.errors import InputError
from mirror.slides.reading.dicom import find_series, is_dicom, read_head
from mirror.slides.reading.open import open_slide
from mirror.slides.tiling.shard import tile_shard
from mirror.slides.tiling.tile import tile_slide
from slide_drawing import draw_tissue

ANNOTATIONS = "1.2.840.10008.5.1.4.1.1.91.1"  # Microscopy Bulk Simple Annotations Storage
SETTINGS = SlideSettings(tile={"size_px": 64})


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return draw_tissue(1024)


@pytest.fixture
def series(tmp_path: Path, image: np.ndarray) -> Path:
    """A folder with the levels of one slide; the largest is not the first by name."""
    folder = tmp_path / "slide"
    folder.mkdir()
    write_dicom(folder / "a.dcm", image[::4, ::4].copy())
    write_dicom(folder / "b.dcm", image)
    (folder / "notes.txt").write_text("not DICOM")
    return folder


def test_a_folder_is_its_largest_level(series: Path, tmp_path: Path, image: np.ndarray):
    assert find_series(series).name == "b.dcm"
    results = [tile_slide(path, "s", tmp_path / path.name, SETTINGS) for path in (series, series / "a.dcm")]
    assert [r.status for r in results] == ["ok", "ok"] and results[0].n_tiles == results[1].n_tiles
    assert results[0].mpp == pytest.approx(0.25)
    with open_slide(series) as slide:
        assert (slide.width, slide.height) == (1024, 1024) and slide.downsamples == (1.0, 4.0)
        assert np.abs(slide.read(0, 300, 300, 200, 200).astype(int) - image[300:500, 300:500]).mean() < 8


def test_two_series_in_a_folder_are_named(series: Path, image: np.ndarray):
    write_dicom(series / "other.dcm", image, series="1.2.4")
    with pytest.raises(InputError, match=r"folder of 2 DICOM series; one file of each: b\.dcm, other\.dcm"):
        open_slide(series)
    with open_slide(series / "a.dcm") as slide:  # a file tells which series is meant
        assert slide.width == 1024


@pytest.mark.parametrize("content", ["nothing", "text", "annotations", "label"])
def test_a_folder_without_a_slide_is_a_folder(tmp_path: Path, image: np.ndarray, content: str):
    folder = tmp_path / "f"
    folder.mkdir()
    if content == "text":
        (folder / "a.txt").write_text("x")
    elif content == "annotations":
        write_dicom(folder / "a.dcm", image[:256, :256], SOPClassUID=ANNOTATIONS)
    elif content == "label":
        write_dicom(folder / "l.dcm", red_picture(300, 300), flavour="LABEL")
    with pytest.raises(InputError, match="is a folder, not a slide"):
        open_slide(folder)


@pytest.mark.fault(
    stage="slides",
    fault="a DICOM file that is no whole-slide image: annotations, a lone label, a part of a concatenation, 16 bits",
    sees="the row of the slide: what the file is",
    survives="every other slide",
)
@pytest.mark.parametrize(
    ("how", "words"),
    [
        (
            {"SOPClassUID": ANNOTATIONS},
            "is a DICOM Microscopy Bulk Simple Annotations Storage, not a whole",
        ),
        ({"flavour": "LABEL"}, r"is the label picture of a slide whose pixels \(ImageType VOLUME\) are not in this"),
        ({"flavour": "OVERVIEW"}, "is the overview picture of a slide"),
        ({"flavour": "LOCALIZER"}, "is the localizer picture of a slide"),
        (
            {"ConcatenationUID": "1.9", "InConcatenationNumber": 2, "InConcatenationTotalNumber": 3},
            "is part 2 of 3 of a concatenation, of which 1 lies in this folder",
        ),
        ({"BitsAllocated": 16, "BitsStored": 12}, "has pixels of 12 bits in 16, not 8-bit unsigned integer"),
        ({"PixelRepresentation": 1}, "has pixels of 8 bits in 8, signed"),
        ({"SamplesPerPixel": 1}, "it is no RGB picture"),
    ],
)
def test_files_that_are_no_slide_are_named(tmp_path: Path, image: np.ndarray, how: dict, words: str):
    folder = tmp_path / "f"
    folder.mkdir()
    path = write_dicom(folder / "x.dcm", image[:512, :512], **how)
    with pytest.raises(InputError, match=words):
        tile_slide(path, "s", tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out" / "tiles" / "s.h5").exists()


@pytest.mark.parametrize("missing", [None, 0, 1])
def test_a_concatenation_is_read_once_it_is_whole(tmp_path: Path, image: np.ndarray, missing: int | None):
    whole = dcmread(write_dicom(tmp_path / "whole.dcm", image))
    frames = list(generate_frames(whole.PixelData, number_of_frames=16))
    folder = tmp_path / "parts"
    folder.mkdir()
    for part in range(2):
        whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{part + 1}"
        whole.PixelData, whole.NumberOfFrames = encapsulate(frames[8 * part : 8 * part + 8]), 8
        whole.ConcatenationUID, whole.SOPInstanceUIDOfConcatenationSource = "1.9", "1.2.9"
        whole.InConcatenationNumber, whole.InConcatenationTotalNumber = part + 1, 2
        whole.ConcatenationFrameOffsetNumber = 8 * part
        whole.save_as(folder / f"{part}.dcm", enforce_file_format=True)
    if missing is not None:
        (folder / f"{missing}.dcm").unlink()
    here = folder / f"{int(missing == 0)}.dcm"
    if missing is None:
        with open_slide(here) as slide:
            assert np.abs(slide.read(0, 0, 0, 1024, 1024).astype(int) - image).mean() < 5
        assert tile_slide(folder, "s", tmp_path / "out", SETTINGS).status == "ok"
    else:
        with pytest.raises(InputError, match=rf"is part {2 - missing} of 2 of a concatenation, of which 1 lies"):
            open_slide(here)


@pytest.mark.parametrize("suffix", [".dcm", ""])
@pytest.mark.parametrize("share", [0.005, 0.02, 0.5, 0.95])
def test_a_cut_file_fails_by_a_row(tmp_path: Path, image: np.ndarray, share: float, suffix: str):
    folder = tmp_path / "f"
    folder.mkdir()
    whole = write_dicom(folder / "x.dcm", image).read_bytes()
    (folder / "x.dcm").unlink()
    path = folder / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    out = tmp_path / "out"
    row = {"slide_id": "s", "patient_id": "P", "slide_path": str(path)}
    found = tile_shard([row], SETTINGS, out, out / "status.tsv").iloc[0]
    assert found["status"] == "failed" and str(path) in found["message"] and "Traceback" not in found["message"]


def test_without_a_resolution_it_is_asked_for_or_a_guess_is_said(tmp_path: Path, image: np.ndarray):
    path = write_dicom(tmp_path / "x.dcm", image, SharedFunctionalGroupsSequence=None)
    assert "guessed from objective power 40" in tile_slide(path, "s", tmp_path / "out", SETTINGS).message
    path = write_dicom(tmp_path / "x.dcm", image, SharedFunctionalGroupsSequence=None, OpticalPathSequence=None)
    with pytest.raises(InputError, match="resolution"):
        tile_slide(path, "s", tmp_path / "out", SETTINGS)


def test_a_deflated_file_is_not_inflated(tmp_path: Path, image: np.ndarray):
    """Inflating has no bound; OpenSlide does not read such files either."""
    path = write_dicom(tmp_path / "x.dcm", image[:256, :256])
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"1.2.840.10008.1.2.4.50", DeflatedExplicitVRLittleEndian.encode(), 1))
    assert is_dicom(path) and read_head(path) is None
    with pytest.raises(InputError):
        open_slide(path)
