"""Lines around the header, patients by content, words that may mean missing: read, or named."""

from __future__ import annotations

import uuid

import numpy as np
import pandas as pd
import pytest

from clinical_tables import IDS, N, plain, read, said, same_outcome
from mirror.core.errors import InputError


def lines_of(table: pd.DataFrame, sep: str = ",") -> list[str]:
    return table.to_csv(index=False, sep=sep).splitlines()


@pytest.mark.fault(
    stage="clinical",
    fault="sep=;, titles, units, second and third header lines, a header repeated, decimal commas",
    sees="the line, in the table `what was read as what`; or the line that cannot be told",
    survives="every patient; no header line becomes one",
)
@pytest.mark.parametrize(
    "kind", ["sep", "title", "title_blank", "title_padded", "units", "description", "cde", "types", "twice", "quoted"]
)
def test_lines_around_the_header(tmp_path, kind):
    """Each is read, and each patient has the right values."""
    ages = [40.25 + i for i in range(N)]
    table = plain(age=ages)
    lines, semi = lines_of(table), [line.replace(".", ",") for line in lines_of(table, ";")]
    text = {
        "sep": ["sep=;", *semi],
        "title": ["Table S1: patients, with ages", *lines],
        "title_blank": ["Supplementary data", "", *lines],
        "title_padded": ["Table S1;;;;", *semi],
        "units": [lines[0], ",,days,0/1,years", *lines[1:]],
        "description": [lines[0], "Identifier,Histological type,Overall survival,Vital status,Age", *lines[1:]],
        "cde": [lines[0], lines[0], ",".join(f"CDE_ID:{i}" for i in range(5)), *lines[1:]],
        "types": [lines[0], "STRING,STRING,NUMBER,NUMBER,NUMBER", *lines[1:]],
        "twice": [*lines[:9], *lines[0:1], *lines[9:]],
        "quoted": [lines[0], *('"' + x.replace(",", '","').replace(".", ",") + '"' for x in lines[1:])],
    }[kind]  # fmt: skip
    found, facts, _ = read(tmp_path / "c.csv", "\n".join(text) + "\n")
    same_outcome(found, table)
    assert found["age"].tolist() == ages
    if kind != "quoted":
        assert any("header" in fact.subject for fact in facts)


def test_header_lines_of_labels_alone(tmp_path):
    """Labels alone under a biotab header: the two header lines are no patients."""
    text = "bcr_patient_barcode\tlabel\n" + "bcr_patient_barcode\thistological_type\nCDE_ID:2003301\tCDE_ID:3081934\n"
    text += "".join(f"TCGA-ZZ-A{i:03d}\t{'IDC' if i % 2 else 'ILC'}\n" for i in range(30))
    found, facts, _ = read(tmp_path / "c.tsv", text)
    assert len(found) == 30 and set(found["label"]) == {"IDC", "ILC"} and facts.get("header line below the header")


def test_a_line_that_cannot_be_told_is_named(tmp_path):
    """Words where numbers belong in a row with a patient's name: neither dropped nor read."""
    lines = lines_of(plain(age=50))
    with pytest.raises(InputError, match=r"line 2.*second header line, or a damaged row"):
        read(tmp_path / "c.csv", "\n".join([lines[0], "P99,IDC,soon,maybe,old", *lines[1:]]))


def test_decimal_commas_are_never_dropped(tmp_path):
    """0,25 years are 0.25 years; 1,234 is read where something tells, and asked for where nothing does."""
    years = plain(os_days=[f"0,{25 + i}" for i in range(N)]).rename(columns={"os_days": "os_years"})
    for sep in (";", "\t", ","):
        found, _, _ = read(tmp_path / "c.csv", years, sep=sep)
        assert np.allclose(found["time_days"], [365.25 * (0.25 + i / 100) for i in range(N)])
    three = plain(os_days=[f"1,{234 + i}" for i in range(N)]).rename(columns={"os_days": "os_years"})
    assert np.allclose(read(tmp_path / "c.csv", three, sep=";")[0]["time_days"].iloc[0], 1.234 * 365.25)
    with pytest.raises(InputError, match=r"'1,234' may be read as 1\.234 or as 1234"):
        read(tmp_path / "c.csv", three, sep="\t")
    dose = plain(dose=[f"{i},5" for i in range(N)])
    assert read(tmp_path / "c.csv", dose, covariates=["dose"])[0]["dose"].tolist() == [i + 0.5 for i in range(N)]


@pytest.mark.fault(
    stage="clinical",
    fault="identifiers under another column than `case_id` or `patient_id`",
    sees="the column that was taken, and why; or one line while the tables are read, with both spellings",
    survives="nothing waits for the join after days of embedding",
)
def test_patients_are_found_by_content(tmp_path):
    """UUIDs and running numbers give way to barcodes, or to what meets the slide table."""
    uuids = [str(uuid.UUID(int=i + 1)) for i in range(N)]
    barcodes = [f"tcga.zz.a{i:03d}.01a" for i in range(N)]
    for first in (uuids, list(range(1, N + 1))):
        table = plain(patient_id=first, other=barcodes).rename(columns={"patient_id": "case_id"})
        found, facts, _ = read(tmp_path / "c.csv", table)
        assert list(found.index) == [f"TCGA-ZZ-A{i:03d}" for i in range(N)]
        assert facts.get("patient column") == "other"
    hospital = plain(patient_id=range(1, N + 1), chart=IDS)
    found, facts, _ = read(tmp_path / "c.csv", hospital, patients=IDS)
    assert list(found.index) == IDS and "meets 24 of 24" in facts.table()
    with pytest.raises(InputError, match=r"no patient of the slide table is in any column.*UUIDs"):
        read(tmp_path / "c.csv", plain(patient_id=uuids), patients=IDS)
    with pytest.raises(InputError, match=r"set `clinical\.patient: chart`"):
        read(tmp_path / "c.csv", hospital.assign(patient_id=range(500, 500 + N)), patients=IDS, patient="patient_id")
    dotted = plain(patient_id=[f"p.{i:02d}" for i in range(N)])
    found, _, _ = read(tmp_path / "c.csv", dotted, patients=[f"P-{i:02d}" for i in range(N)])
    assert found.index[0] == "P-00"


@pytest.mark.fault(
    stage="clinical",
    fault="a patient called NA; `none` and `unknown` as labels",
    sees="the name and its rows; cells of the label that were read as missing, by word",
    survives="the patient; `none` as a class, `unknown` where `classes` names it",
)
def test_words_that_may_mean_missing(tmp_path):
    """One policy: identifiers are missing only when empty; `none` is a class where it is used as one."""
    found, facts, _ = read(tmp_path / "c.csv", plain(patient_id=["NA", "none", *IDS[2:]]))
    assert list(found.index)[:2] == ["NA", "none"] and "called 'NA'" in said(facts)
    labels = ["none"] * 8 + ["nodal"] * 10 + ["unknown"] * 4 + ["NA", ""]
    found, facts, _ = read(tmp_path / "c.csv", plain(subtype=labels))
    assert found["label"].value_counts().to_dict() == {"nodal": 10, "none": 8}
    assert "'unknown' 4" in str(facts.get("label without a class"))
    found, _, _ = read(tmp_path / "c.csv", plain(subtype=labels), classes=["Unknown"])
    assert found["label"].value_counts().to_dict() == {"nodal": 10, "none": 8, "unknown": 4}
    smoking = plain(therapy=["none", "chemo"] * 12)
    assert set(read(tmp_path / "c.csv", smoking, covariates=["therapy"])[0]["therapy"]) == {"none", "chemo"}
