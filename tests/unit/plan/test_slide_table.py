"""Slide tables that lie: one file of two patients, other separators, characters that no one sees."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from mirror.core.barcodes import patient_id
from mirror.core.errors import InputError
from mirror.core.names import without_unseen
from mirror.plan.slide_table import attach_masks, read_slide_table


def write(folder, *rows, separator="\t"):
    path = folder / "samples.tsv"
    path.write_text("\n".join(separator.join(row) for row in (("slide_id", "patient_id", "slide_path"), *rows)) + "\n")
    return path


@pytest.mark.parametrize("link", ["same path", "symbolic link", "hard link", "dots"])
def test_one_file_under_two_patients_is_refused(tmp_path, link):
    slide, other = tmp_path / "a.svs", tmp_path / "b.svs"
    slide.write_bytes(b"x")
    if link == "symbolic link":
        other.symlink_to(slide)
    elif link == "hard link":
        os.link(slide, other)
    else:
        other = slide if link == "same path" else tmp_path / "." / "a.svs"
    table = write(tmp_path, ("s1", "P1", str(slide)), ("s2", "P2", str(other)))
    with pytest.raises(InputError, match=r"row 3.*also that of patient `P1` \(row 2\)"):
        read_slide_table(table)


def test_a_file_that_is_not_there_or_of_one_patient_is_no_conflict(tmp_path):
    """Placeholders of studies with imported features; one patient under two spellings of a barcode."""
    assert len(read_slide_table(write(tmp_path, ("s1", "P1", "none.svs"), ("s2", "P2", "none.svs")))) == 2
    slide = tmp_path / "a.svs"
    slide.write_bytes(b"x")
    rows = ("s1", "TCGA-AA-0001", str(slide)), ("s2", "TCGA-AA-0001-01Z", str(slide))
    assert len(read_slide_table(write(tmp_path, *rows))) == 2


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_tabs_commas_and_semicolons(tmp_path, separator):
    found = read_slide_table(write(tmp_path, ("s1", "P1", "a.svs"), separator=separator))
    assert (found[0].slide_id, found[0].patient_id, found[0].slide_path) == ("s1", "P1", "a.svs")


@pytest.mark.parametrize("mark", ["\ufeff", "\u200b", "\u200d", "\u2060", "\u00ad", "\u200e"])
def test_characters_that_no_one_sees_are_no_part_of_a_name(mark):
    assert without_unseen(f"TP{mark}53{mark}") == "TP53"
    assert patient_id(f"{mark}TCGA-AA-{mark}0001-01A") == "TCGA-AA-0001"
    assert patient_id(f"P{mark}7") == "P7"


def test_masks_of_a_folder_and_of_the_table(tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("S1.geojson", "two.svs.geojson", "own.geojson", "typo.geojson"):
        (masks / name).write_text("{}")
    table = tmp_path / "samples.tsv"
    table.write_text(
        "slide_id\tpatient_id\tslide_path\tmask\n"
        f"S1\tP1\tone.svs\t\nS2\tP2\tdata/two.svs\t\nS3\tP3\tthree.svs\t{masks}/own.geojson\nS4\tP4\tfour.svs\t\n"
    )
    slides, unused = attach_masks(read_slide_table(table), masks)
    assert {s.slide_id: Path(s.mask).name for s in slides if s.mask} == {
        "S1": "S1.geojson",
        "S2": "two.svs.geojson",
        "S3": "own.geojson",
    }
    assert [path.name for path in unused] == ["typo.geojson"]
    assert set(slides[3].as_dict()) == {"slide_id", "patient_id", "slide_path", "mpp", "size"}
    (masks / "S1.geojson").write_text("{} ")
    changed, _ = attach_masks(read_slide_table(table), masks)
    assert changed[0].mask_hash != slides[0].mask_hash
    assert dataclasses.replace(changed[0], mask_hash=None) == dataclasses.replace(slides[0], mask_hash=None)
    table.write_text("slide_id\tpatient_id\tslide_path\tmask\nS1\tP1\tone.svs\tnowhere.geojson\n")
    with pytest.raises(InputError, match=r"row 2.*nowhere.geojson.*correct the path"):
        read_slide_table(table)
