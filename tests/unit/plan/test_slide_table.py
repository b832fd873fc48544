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


@pytest.mark.parametrize("dash", ["\u2010", "\u2011", "\u2013", "\u2212"])
def test_dashes_of_a_text_editor_are_hyphens(dash):
    assert patient_id(f"TCGA{dash}AA{dash}0001{dash}01A") == "TCGA-AA-0001"
    assert without_unseen(f"HLA{dash}A") == "HLA-A"


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


@pytest.mark.fault(
    stage="config",
    fault="slide tables that contradict themselves: slides and patients swapped, barcodes of two patients in "
    "a row, a path with the separator inside, a column twice",
    sees="the row, or which columns to swap",
    survives="nothing has run",
)
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("P1", "a_1", "/d/a_1.svs"), ("P2", "b_1", "/d/b_1.svs")], "patient_id holds names of slides \\(`a_1`\\)"),
        (
            [(f"TCGA-AA-000{i}", f"TCGA-AA-000{i}-01Z-00-DX1", "") for i in range(3)],
            "slide_id those of patients \\(`TCGA-AA-0000`\\)",
        ),
        (
            [("TCGA-AA-0001-01Z-00-DX1", "TCGA-AA-0002", "")],
            "row 2.*slide_id is of patient TCGA-AA-0001, patient_id is `TCGA-AA-0002`",
        ),
        (
            [("s", "TCGA-AA-0002", "/d/TCGA-AA-0003-01Z-00-DX1.1234.svs")],
            "slide_path is of patient TCGA-AA-0003",
        ),
        ([("s", "P", "a", "b", "c")], "row 2.*more fields than the header"),
    ],
)
def test_tables_that_contradict_themselves(tmp_path, rows, words):
    with pytest.raises(InputError, match=words):
        read_slide_table(write(tmp_path, *rows))


def test_a_slide_may_be_named_as_its_patient(tmp_path):
    """One slide per patient, named alike, or a file named after the patient although the slide is not."""
    assert read_slide_table(write(tmp_path, ("P1", "P1", "/d/P1.svs"), ("P2", "P2", "/d/P2.svs")))
    assert read_slide_table(write(tmp_path, ("P1", "P1", "/d/x.svs"), ("TCGA-AA-0002-01Z-00-DX1", "anon2", "/d/y.svs")))
    assert read_slide_table(write(tmp_path, ("tcga.aa.0002.01Z.00.DX1", "TCGA-AA-0002", "/d/TCGA-AA-0002-01Z.svs")))


def test_a_column_twice_and_blanks_in_the_header(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("slide_id, patient_id , slide_path, mpp\ns1,P1,a.svs,0.25\n")
    found = read_slide_table(path)[0]
    assert (found.patient_id, found.mpp) == ("P1", 0.25)
    path.write_text("slide_id;patient_id;slide_path;mpp\ns1;P1;a.svs;0,25\ns2;P2;b.svs;N/A\n")
    assert [slide.mpp for slide in read_slide_table(path)] == [0.25, None]
    path.write_text("slide_id,patient_id,slide_path,,\ns1,P1,a.svs,,,\n")
    assert read_slide_table(path)[0].slide_path == "a.svs"
    path.write_text("slide_id,patient_id,patient_id,slide_path\ns1,P1,P2,a.svs\n")
    with pytest.raises(InputError, match="column `patient_id` is there twice"):
        read_slide_table(path)
    path.write_text("slide_id;patient_id;slide_path;mpp\ns1;P1;a.svs;0,25 um/px\n")
    with pytest.raises(InputError, match=r"row 2.*`0,25 um/px`, not a number"):
        read_slide_table(path)


def several(folder, *tables):
    """Slide tables ``t0.tsv``, ``t1.tsv`` ..."""
    out = []
    for number, rows in enumerate(tables):
        path = folder / f"t{number}.tsv"
        write(folder, *rows).rename(path)
        out.append(str(path))
    return out


def test_several_tables_are_one(tmp_path):
    tables = several(tmp_path, [("s1", "P1", "a.svs")], [("s2", "P2", "b.svs"), ("s3", "P1", "c.svs")])
    assert [(row.slide_id, row.patient_id) for row in read_slide_table(tables)] == [
        ("s1", "P1"),
        ("s2", "P2"),
        ("s3", "P1"),
    ]
    assert read_slide_table(tables[:1]) == read_slide_table(tables[0])


def test_a_slide_stands_in_one_table(tmp_path):
    tables = several(tmp_path, [("s1", "P1", "a.svs")], [("s2", "P2", "b.svs"), ("s1", "P1", "a.svs")])
    with pytest.raises(InputError) as error:
        read_slide_table(tables)
    assert str(error.value).startswith(f"{tables[1]} (row 3): slide_id `s1` is also in row 2 of {tables[0]}")


def test_one_file_under_patients_of_two_tables_is_refused(tmp_path):
    slide = tmp_path / "a.svs"
    slide.write_bytes(b"x")
    tables = several(tmp_path, [("s1", "P1", str(slide))], [("s2", "P2", str(slide))])
    with pytest.raises(InputError, match=r"also that of patient `P1` \(row 2 of .*t0.tsv\)"):
        read_slide_table(tables)
