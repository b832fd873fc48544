"""Published splits: counted, refused, repaired."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest

from mirror.audit.checks import check_patient_overlap
from mirror.cohort.splits.published import read_published
from mirror.core.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two folds; TCGA-AA-0003 leaks in fold 0 under another form."""
    a = ["TCGA-AA-0001", "TCGA-AA-0002", "TCGA-AA-0003", "TCGA-AA-0003"]
    b = ["tcga.aa.0003", "TCGA-AA-0004-01Z-00-DX1"]
    place = tmp_path / "published"
    place.mkdir()
    pd.DataFrame({"train": pd.Series(a), "val": pd.Series(b)}).to_csv(place / "splits_0.csv")
    pd.DataFrame({"train": pd.Series(["TCGA-AA-0004"]), "val": pd.Series(a[:2])}).to_csv(place / "splits_1.csv")
    return place


@pytest.mark.data
@pytest.mark.parametrize(
    ("cohort", "leaked", "patients"),
    [("rcc", [15, 10, 3, 10, 13], 898), ("brca", [0] * 5, 956), ("coadread", [0] * 5, 340)],
)
def test_leaks_of_the_reference_are_counted(test_data: Path, cohort: str, leaked: list[int], patients: int) -> None:
    place = test_data / "splits" / f"tcga_{cohort}"
    splits, report = read_published(place, 5, repair=True)
    assert report.leaked == leaked
    assert report.repaired == any(leaked)
    assert report.published == report.used == patients
    for _, rows in splits.groupby("fold"):
        assert rows["patient_id"].is_unique
    if any(leaked):
        with pytest.raises(InputError, match=r"15, 10, 3, 10, 13 patients.*repair: true"):
            read_published(place, 5)
    else:
        assert read_published(place, 5)[0].equals(splits)


@pytest.mark.data
def test_the_audit_finds_the_leaks_of_the_reference(test_data: Path) -> None:
    """The published RCC files as they are, without repair, given to the audit."""
    files = [pd.read_csv(test_data / f"splits/tcga_rcc/splits_{k}.csv") for k in range(5)]
    splits = pd.concat(
        pd.DataFrame({"patient_id": table[column].dropna(), "repeat": 0, "fold": k, "set": name})
        for k, table in enumerate(files)
        for column, name in (("train", "train"), ("val", "test"))
    )
    found = check_patient_overlap(splits).numbers["by_fold"]
    assert found == {"r0f0": 15, "r0f1": 10, "r0f2": 3, "r0f3": 10, "r0f4": 13}


def test_leak_is_refused_or_repaired(folder: Path) -> None:
    with pytest.raises(InputError, match="1, 0 patients are in both"):
        read_published(folder, 2)
    splits, report = read_published(folder, 2, repair=True)
    fold = splits[splits["fold"] == 0].set_index("patient_id")["set"].to_dict()
    assert fold == {"TCGA-AA-0001": "train", "TCGA-AA-0002": "train", "TCGA-AA-0003": "test", "TCGA-AA-0004": "test"}
    assert report.leaked == [1, 0] and report.repeated_rows == [1, 0]


def test_cohort_and_splits_are_joined_and_counted(folder: Path) -> None:
    cohort = ["tcga-aa-0001", "TCGA-AA-0003", "TCGA-AA-0004", "TCGA-ZZ-0009"]
    splits, report = read_published(folder, 2, repair=True, cohort_patients=cohort)
    assert set(splits["patient_id"]) == {"tcga-aa-0001", "TCGA-AA-0003", "TCGA-AA-0004"}
    assert report.not_in_cohort == ["TCGA-AA-0002"]
    assert report.not_in_splits == ["TCGA-ZZ-0009"]
    assert report.published == 4 and report.used == 3
    assert "1 patients of the cohort are not in the splits and are left out" in report.messages()


def test_fold_without_the_cohort_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="no test patient"):
        read_published(folder, 2, repair=True, cohort_patients=["TCGA-AA-0001", "TCGA-AA-0002"])


def test_wrong_files_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 2 files"):
        read_published(folder, 5)
    with pytest.raises(InputError, match="no such folder"):
        read_published(tmp_path / "nowhere", 2)
    (folder / "splits_1.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column train and val"):
        read_published(folder, 2)
    (folder / "splits_1.csv").write_text("train,val,test\nA,B,C\n")
    with pytest.raises(InputError, match="test column"):
        read_published(folder, 2)


def test_script_writes_the_counts(folder: Path, tmp_path: Path, root: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_splits", root / "workflow/scripts/make_splits.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    patients = tmp_path / "patients.tsv"
    pd.DataFrame({"patient_id": [f"TCGA-AA-000{i}" for i in range(1, 5)], "label": list("ABAB")}).to_csv(
        patients, sep="\t", index=False
    )
    scheme = {"kind": "published", "path": str(folder.parent / "{cohort}"), "folds": 2, "repair": True}
    script.main(patients, tmp_path / "out/splits.tsv", scheme, seed=0, cohort="published")
    facts = json.loads((tmp_path / "out/splits.json").read_text())
    assert facts["published"]["leaked"] == [1, 0] and facts["patients"] == 4
    script.main(patients, tmp_path / "made/splits.tsv", {"folds": 2}, seed=0)
    assert len(pd.read_csv(tmp_path / "made/splits.tsv", sep="\t")) == 8
