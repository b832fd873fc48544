"""Tables that are broken, mistaken or hostile: each is one clear error, or a stated rule, never a silent loss."""

from __future__ import annotations

import gzip
import logging
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mirror.config.sources import ClinicalSource, ExpressionSource
from mirror.core.errors import InputError
from mirror.core.spreadsheet import escape_formula
from mirror.readers.clinical import read_clinical
from mirror.readers.expression import read_expression
from mirror.readers.tables import read_table

ROOT = Path(__file__).resolve().parents[2]
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:aba030e1f04a196ee6c2118ed37e777b533f7fd24ffd1bcbde908dcee33b2eb5\nsize 154654165\n"
)
PAGE = "\n<!DOCTYPE html>\n<html><head><title>403 Forbidden</title></head><body>expired</body></html>\n"


def matrix(genes: int = 300, samples: int = 30) -> pd.DataFrame:
    """Counts with genes in rows."""
    rng = np.random.default_rng(0)
    names = [f"TCGA-AA-{i:04d}-01A" for i in range(samples)]
    return pd.DataFrame(
        rng.integers(0, 9000, (genes, samples)), index=[f"GENE{i}" for i in range(genes)], columns=names
    )


def expression(path, **settings):
    """Read expression."""
    return read_expression(ExpressionSource(path=str(path), **settings))


def clinical(path, **settings):
    """Read a clinical table."""
    return read_clinical(ClinicalSource(path=str(path), **settings))


@pytest.mark.fault(
    stage="tables",
    fault="LFS pointers, web pages, server errors, binaries, empty tables, plain or gzipped",
    sees="what it is, in one line with the file's name",
    survives="nothing is read from it",
)
@pytest.mark.parametrize("reader", [expression, clinical])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (POINTER, "git-LFS pointer"),
        (PAGE, "web page"),
        ('{"error": "expired"}', "server's error"),
        ("\x00\x01\x02 binary", "binary"),
        ("gene,a,b\n", "no rows"),
        ("gene\ta\tb\nX\t1\n", "1 line|fewer fields|has 2 fields"),
    ],
)
def test_no_table(tmp_path, reader, text, words, packed):
    """Pointers, web pages, error messages and empty tables, plain or gzipped, in one line each."""
    path = tmp_path / ("t.tsv.gz" if packed else "t.tsv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    with pytest.raises(InputError, match=words) as caught:
        reader(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


@pytest.mark.fault(
    stage="tables", fault="a real git-LFS pointer", sees="to run `git lfs pull`", survives="nothing is read from it"
)
def test_real_lfs_pointer(test_data):
    """The pointer of the test data where a matrix was expected."""
    with pytest.raises(InputError, match="git lfs pull"):
        expression(test_data / "rawexpr" / "lfs_pointer.txt")


@pytest.mark.fault(
    stage="tables",
    fault="a mistyped file name; 0 bytes; a folder",
    sees="no such file, and the nearest name",
    survives="nothing is read from it",
)
@pytest.mark.parametrize("reader", [expression, clinical])
def test_absent_and_empty_files(tmp_path, reader):
    """A wrong name suggests the right one; a file of 0 bytes is said to be one."""
    (tmp_path / "matrix.tsv").write_text("")
    with pytest.raises(InputError, match=r"no such file; is it matrix\.tsv"):
        reader(tmp_path / "matrx.tsv")
    with pytest.raises(InputError, match="empty"):
        reader(tmp_path / "matrix.tsv")
    with pytest.raises(InputError, match="folder"):
        reader(tmp_path)


@pytest.mark.fault(
    stage="expression",
    fault="a gzip cut anywhere",
    sees="broken off or damaged gzip",
    survives="never a shorter matrix",
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_truncated_gzip(tmp_path, share):
    """A download that broke off anywhere is an error, never a shorter matrix."""
    whole = gzip.compress(matrix().to_csv().encode())
    path = tmp_path / "m.csv.gz"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match="broken off or damaged gzip"):
        expression(path)


@pytest.mark.fault(
    stage="tables",
    fault="damaged zip, parquet, h5ad, workbooks, false suffixes",
    sees="which container is damaged",
    survives="nothing is read from it",
)
def test_damaged_containers(tmp_path):
    """Damaged zip, parquet and h5ad files, workbooks and false suffixes."""
    for name, content, words in (
        ("a.zip", b"PK\x03\x04 not a zip", "broken off or damaged zip"),
        ("a.parquet", b"PAR1 not parquet at all", "parquet"),
        ("a.h5ad", b"\x89HDF\r\n\x1a\n rest", "truncated or not HDF5"),
        ("a.xls", b"\xd0\xcf\x11\xe0 old workbook", "Excel workbook"),
        ("a.csv.gz", b"gene,a\nX,1\n", "content is not"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=words):
            expression(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("xl/worksheets/sheet1.xml", "<x/>")
    with pytest.raises(InputError, match="Excel workbook"):
        expression(tmp_path / "b.xlsx")


@pytest.mark.fault(
    stage="tables",
    fault="path traversal in zip members",
    sees="nothing: read in place",
    survives="nothing is written anywhere",
)
@pytest.mark.parametrize("member", ["../../evil.csv", "./m.csv", "/tmp/evil_absolute.csv", "..\\evil.csv"])
def test_zip_members_are_never_extracted(tmp_path, member):
    """A member named outside the folder is read in place; nothing is written anywhere."""
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    with zipfile.ZipFile(inside / "m.zip", "w") as archive:
        archive.writestr(member, matrix().to_csv())
    before = sorted(tmp_path.rglob("*"))
    adata, _ = expression(inside / "m.zip")
    assert adata.shape == (30, 300)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.fault(stage="tables", fault="a zip of two tables", sees="holds 2, by name", survives="nothing is guessed")
def test_zip_with_several_tables(tmp_path):
    """Which of two tables is meant cannot be guessed; folders and macOS shadows do not count."""
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("a/x.csv", matrix().to_csv())
        archive.writestr("__MACOSX/a/._x.csv", "shadow")
    assert expression(tmp_path / "m.zip")[0].n_vars == 300
    with zipfile.ZipFile(tmp_path / "m.zip", "a") as archive:
        archive.writestr("y.csv", "more")
    with pytest.raises(InputError, match=r"holds 2: x\.csv, y\.csv"):
        expression(tmp_path / "m.zip")


@pytest.mark.fault(
    stage="tables",
    fault="spreadsheet formulas in cells",
    sees="an apostrophe before the formula",
    survives="numbers and names stay",
)
@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        (" =1+1", "' =1+1"),
        ("-1.5e-3", "-1.5e-3"),
        ("+5", "+5"),
        ("HLA-A", "HLA-A"),
        ("", ""),
        (3, "3"),
    ],
)
def test_formulas_are_defused(cell, safe):
    """Text that a spreadsheet would run gets an apostrophe; numbers and names stay; twice is as once."""
    assert escape_formula(cell) == safe
    assert escape_formula(escape_formula(cell)) == safe


@pytest.mark.fault(
    stage="clinical",
    fault="a label that is a formula",
    sees="an apostrophe before the formula",
    survives="identifiers stay",
)
def test_formula_in_a_clinical_label(tmp_path):
    """A label that is a formula is written so that a spreadsheet shows it; identifiers stay as they are."""
    from read_target import main

    path = tmp_path / "c.tsv"
    path.write_text("patient_id\tlabel\ttime_days\tevent\nP1\t=cmd|'/C calc'!A0\t3\t1\nP2\tIDC\t5\t0\n")
    files = {name: tmp_path / f"{name}.tsv" for name in ("out", "flow", "facts")}
    source = {"path": str(path), "endpoint": "none"}
    main(source, {"name": "subtyping", "kind": "class"}, patients=path, study=path, **files)
    written = read_table(tmp_path / "out.tsv")
    assert written["label"].tolist() == ["'=cmd|'/C calc'!A0", "IDC"]
    assert written["patient_id"].tolist() == ["P1", "P2"]


@pytest.mark.fault(
    stage="clinical",
    fault="path traversal in patient names",
    sees="nothing: a patient's name is a cell of tables and never a part of a path",
    survives="the patient",
)
@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../b"])
def test_path_traversal_in_patient_names(tmp_path, name):
    """Names of patients are kept as they are, and name no file: neither what is written nor any rule's output."""
    from read_clinical import main

    folder = tmp_path / "deep" / "results"
    folder.mkdir(parents=True)
    path = tmp_path / "deep" / "c.tsv"
    path.write_text(f"patient_id\tlabel\ttime_days\tevent\n{name}\tILC\t3\t1\nP2\tIDC\t5\t0\n")
    main({"path": str(path)}, folder / "out.tsv", folder / "out.json")
    assert read_table(folder / "out.tsv")["patient_id"].tolist() == [name, "P2"]
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert written == {"deep/c.tsv", "deep/results/out.tsv", "deep/results/out.json"}
    assert not Path("/etc/evil").exists()
    rules = "".join(p.read_text() for p in (ROOT / "rules").glob("*.smk"))
    assert not re.search(r"\{(wildcards\.)?patient", rules)


@pytest.mark.fault(
    stage="expression",
    fault="counts below zero",
    sees="counts cannot be negative, and their share",
    survives="nothing is read from it",
)
def test_negative_counts(tmp_path):
    """Counts below zero are refused, with their share."""
    table = matrix()
    table.iloc[4, 5] = -3
    table.to_csv(tmp_path / "m.csv")
    with pytest.raises(InputError, match="counts cannot be negative"):
        expression(tmp_path / "m.csv", values="counts")


@pytest.mark.fault(
    stage="expression",
    fault="logarithms declared as counts, or taken twice",
    sees="logarithm taken twice",
    survives="nothing is read from it",
)
def test_log_of_log(tmp_path):
    """Logarithms declared as counts would be logged again; logarithms taken twice are noticed by themselves."""
    logs = np.log2(matrix(1200) + 1)
    logs.to_csv(tmp_path / "m.csv")
    with pytest.raises(InputError, match="logarithm would be taken twice"):
        expression(tmp_path / "m.csv", values="counts")
    np.log2(logs + 1).to_csv(tmp_path / "mm.csv")
    with pytest.raises(InputError, match="logarithm was taken twice"):
        expression(tmp_path / "mm.csv")


@pytest.mark.fault(
    stage="expression",
    fault="a word among numbers, deep in the file",
    sees="its column and the word",
    survives="nothing is read from it",
)
def test_words_among_numbers(tmp_path):
    """A word in a cell names its column, early or deep in the file, either way round."""
    table = matrix(4000).astype(object)
    table.iloc[3900, 5] = "oops"
    table.to_csv(tmp_path / "m.csv")
    with pytest.raises(InputError, match=r"TCGA-AA-0005-01A.*oops"):
        expression(tmp_path / "m.csv")
    table.iloc[3800:].T.to_csv(tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"GENE3900.*oops"):
        expression(tmp_path / "t.csv")


@pytest.mark.fault(
    stage="clinical",
    fault="events the wrong way round",
    sees="a warning: looks reversed",
    survives="`event_is` corrects it",
)
def test_wrong_way_events(tmp_path, caplog):
    """Events turned round: the longest-observed "die"; a clear warning, and an error where the vital status knows."""
    rng = np.random.default_rng(0)
    death, end = rng.exponential(4000, 200), rng.uniform(300, 3000, 200)
    table = pd.DataFrame({"patient_id": [f"P{i}" for i in range(200)], "time_days": np.minimum(death, end)})
    table["event"] = (death > end).astype(int)  # should be death <= end
    table.to_csv(tmp_path / "c.csv", index=False)
    with caplog.at_level(logging.WARNING, logger="mirror"):
        _, report = clinical(tmp_path / "c.csv")
    assert report["plausibility"]["polarity_suspicious"] and "looks reversed" in caplog.text
    assert not clinical(tmp_path / "c.csv", event_is="1_censored")[1]["plausibility"]["polarity_suspicious"]


@pytest.mark.fault(
    stage="clinical",
    fault="a misspelt column",
    sees="the nearest column and the setting",
    survives="nothing is guessed",
)
def test_missing_columns_name_the_nearest(tmp_path):
    """A misspelt column is an error that names what is there, and the setting."""
    path = tmp_path / "c.csv"
    path.write_text("patient_id,subtype,os_days,os_event\nA,x,3,1\nB,y,4,0\n")
    with pytest.raises(InputError, match=r"no column 'os_day' \(nearest: os_days.*clinical\.time"):
        clinical(path, time="os_day")
    with pytest.raises(InputError, match=r"`clinical\.covariates`"):
        clinical(path, covariates=["grade"])


@pytest.mark.fault(
    stage="clinical",
    fault="a word among times; a patient without a name",
    sees="the row",
    survives="nothing is dropped in silence",
)
def test_bad_cells_name_their_row(tmp_path):
    """A word among times and a patient without a name are found by row."""
    path = tmp_path / "c.csv"
    path.write_text("patient_id,os_days,os_event\nA,3,1\nB,soon,0\n")
    with pytest.raises(InputError, match=r"data row 2.*'soon' is not a number"):
        clinical(path)
    path.write_text("patient_id,os_days,os_event\nA,3,1\n,4,0\n")
    with pytest.raises(InputError, match=r"data row 2.*patient identifier is missing"):
        clinical(path)


@pytest.mark.fault(
    stage="expression",
    fault="slides and expression share no patient",
    sees="both spellings",
    survives="nothing is guessed",
)
def test_no_patient_in_common(tmp_path):
    """When identifiers do not meet, the error shows both spellings."""
    matrix().to_csv(tmp_path / "m.csv")
    with pytest.raises(InputError, match=r"TCGA-AA-0000-01A.*patients such as P1"):
        read_expression(ExpressionSource(path=str(tmp_path / "m.csv")), ["P1", "P2"])


@pytest.mark.fault(
    stage="expression",
    fault="two columns of one name",
    sees="the policy's answer, or an error",
    survives="neither is lost",
)
def test_duplicate_columns_are_not_lost(tmp_path):
    """Two columns of the same name are two samples, decided by the policy."""
    table = matrix(5, 3)
    table.columns = ["TCGA-AA-0001-01A", "TCGA-AA-0001-01A", "TCGA-AA-0002-01A"]
    table.to_csv(tmp_path / "m.csv")
    _, report = expression(tmp_path / "m.csv", duplicates="mean")
    assert report["duplicates"]["patients_with_different_samples"] == 1
    with pytest.raises(InputError, match="different values"):
        expression(tmp_path / "m.csv", duplicates="error")


@pytest.mark.fault(
    stage="clinical", fault="Latin-1 and UTF-16 tables", sees="nothing: they are read", survives="every letter"
)
def test_latin1_and_utf16(tmp_path):
    """Old clinical tables with Latin-1 letters, and UTF-16 as spreadsheets export it, are read."""
    text = "patient_id\tlabel\ttime_days\tevent\nA\tSjögren\t3\t1\nB\ty\t4\t0\n"
    for encoding in ("latin-1", "utf-16", "utf-8-sig"):
        (tmp_path / "c.tsv").write_bytes(text.encode(encoding))
        assert clinical(tmp_path / "c.tsv")[0]["label"].tolist() == ["Sjögren", "y"]
