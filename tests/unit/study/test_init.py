"""`mirror init`: inputs as people have them become a configuration that the workflow accepts."""

from __future__ import annotations

import csv
import subprocess
import sys
import uuid
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from mirror.core.errors import InputError
from mirror.plan.plan import Plan
from mirror.study.__main__ import main
from mirror.study.feature_files import find_features
from mirror.study.init import Request, Study, init, render
from mirror.study.slide_files import find_slides, link_patients, read_links
from mirror.study.write import line_of, scalar

ROOT = Path(__file__).resolve().parents[3]
PATIENTS = [f"TCGA-A1-{i:04d}" for i in range(24)]
GENES = 60
rng = np.random.default_rng(3)


def touch(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def star(folder: Path, patients: list[str], sheet: Path | None) -> None:
    """A gdc-client folder of STAR counts: UUID folders, UUID names; the sheet alone knows the patients."""
    rows = []
    for patient in patients:
        file_id, name = str(uuid.UUID(int=rng.integers(2**62))), str(uuid.UUID(int=rng.integers(2**62)))
        file = f"{name}.rna_seq.augmented_star_gene_counts.tsv"
        lines = ["# gene-model: GENCODE v36", "gene_id\tgene_name\tgene_type\tunstranded\tstranded_first"]
        lines += [f"N_{what}\t\t\t9\t9" for what in ("unmapped", "multimapping", "noFeature", "ambiguous")]
        counts = rng.poisson(50, GENES)
        lines += [f"ENSG{i:011d}.1\tG{i}\tprotein_coding\t{c}\t{c}" for i, c in enumerate(counts)]
        touch(folder / file_id / file, "\n".join(lines) + "\n")
        rows.append((file_id, file, patient, f"{patient}-01A", "Primary Tumor"))
    if sheet:
        header = ["File ID", "File Name", "Case ID", "Sample ID", "Sample Type"]
        pd.DataFrame(rows, columns=header).to_csv(sheet, sep="\t", index=False)


def cbioportal(folder: Path, patients: list[str]) -> Path:
    """A cBioPortal study's clinical files; ONCOTREE_CODE has one value, PAM50 several."""
    lines = ["#Patient\tStatus\tMonths\tSubtype", "#a\tb\tc\td", "#STRING\tSTRING\tNUMBER\tSTRING", "#1\t1\t1\t1",
             "PATIENT_ID\tOS_STATUS\tOS_MONTHS\tPAM50"]  # fmt: skip
    lines += [
        f"{p}\t{'1:DECEASED' if i % 3 == 0 else '0:LIVING'}\t{10 + i}\t{'LumA' if i % 2 else 'Basal'}"
        for i, p in enumerate(patients)
    ]
    samples = ["#a\tb\tc", "#a\tb\tc", "#STRING\tSTRING\tSTRING", "#1\t1\t1", "PATIENT_ID\tSAMPLE_ID\tONCOTREE_CODE"]
    samples += [f"{p}\t{p}-01\tBRCA" for p in patients]
    touch(folder / "data_clinical_sample.txt", "\n".join(samples) + "\n")
    return touch(folder / "data_clinical_patient.txt", "\n".join(lines) + "\n")


def matrix(path: Path, patients: list[str]) -> Path:
    frame = pd.DataFrame(rng.poisson(40, (GENES, len(patients))), [f"GENE{i}" for i in range(GENES)], patients)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, sep="\t", index_label="gene")
    return path


def accepted(study: Study) -> Plan:
    """The workflow reads what was written."""
    plan = Plan.read(yaml.safe_load(study.config.read_text()), ROOT)
    assert plan.cohorts
    return plan


def said(study: Study) -> str:
    return " ".join(render(study.rows).split())


@pytest.fixture
def tcga(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slides and STAR counts as gdc-client leaves them, a cBioPortal folder, the sheet beside the counts."""
    monkeypatch.chdir(tmp_path)
    for patient in PATIENTS[:20]:
        touch(tmp_path / "slides" / str(uuid.uuid4()) / f"{patient}-01Z-00-DX1.{uuid.uuid4()}.svs")
    touch(tmp_path / "slides" / "u" / f"{PATIENTS[0]}-01Z-00-DX2.svs")
    touch(tmp_path / "slides" / "u" / f"{PATIENTS[0]}-01A-01-TS1.svs")
    touch(tmp_path / "slides" / "u" / "logs" / "x.svs.parcel", "log")
    touch(tmp_path / "slides" / "u" / "half.svs.partial")
    star(tmp_path / "counts", PATIENTS[2:22], tmp_path / "gdc_sample_sheet.2026-11-25.tsv")
    cbioportal(tmp_path / "brca_tcga", PATIENTS)
    return tmp_path


def test_tcga_as_it_is_downloaded(tcga: Path) -> None:
    """STAR counts by the sheet found beside them, slides by barcode, frozen sections out, the label asked for."""
    study = init(Request(Path("study"), Path("slides"), Path("counts"), Path("brca_tcga")))
    text = said(study)
    assert "21 (1 with several slides)" not in text
    assert "patients of slides 20 (1 with several slides), by TCGA barcode 21" in text
    assert "1 slides left out by their TCGA barcodes" in text
    assert "gdc_star: 18 patients x 60 genes" in text and "kind of values counts" in text
    assert "gdc_sample_sheet.2026-11-25.tsv (found by its name)" in text
    assert "18 in all of: slides 20, expression 18, clinical 24" in text
    assert len(study.complete) == 18
    # ONCOTREE_CODE, cBioPortal's usual label, has one value: the line to edit is named, PAM50 is offered.
    assert "ONCOTREE_CODE has no two classes of 5 patients (BRCA 24)" in text
    assert "PAM50 (2: Basal 12, LumA 12)" in text
    lines = study.config.read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "label:" in line)
    assert f"edit study/config.yaml line {number} (clinical.label)" in text
    plan = accepted(study)
    assert plan.config["evaluation"]["tasks"] == ["survival"]
    assert [s.patient_id for s in plan.slides["study"]][:2] == PATIENTS[:1] * 2
    assert plan.cohort("study")["expression"]["sample_sheet"] == "gdc_sample_sheet.2026-11-25.tsv"

    named = init(Request(Path("two"), Path("slides"), Path("counts"), Path("brca_tcga"), label="PAM50", cohort="BRCA"))
    assert not [row for row in named.rows if row.state == "open"]
    plan = accepted(named)
    assert plan.cohort("BRCA")["clinical"]["label"] == "PAM50"
    assert plan.config["evaluation"]["tasks"] == ["subtyping", "survival"]
    assert plan.config["encoders"] == ["efficientnet-lite0"]
    assert "demo" not in named.config.read_text()


def test_nothing_is_overwritten(tcga: Path) -> None:
    init(Request(Path("study"), slides=Path("slides")))
    before = {f: f.read_bytes() for f in (tcga / "study").iterdir()}
    with pytest.raises(InputError, match=r"config.yaml: exists; nothing was written"):
        init(Request(Path("study"), expression=Path("counts")))
    assert {f: f.read_bytes() for f in (tcga / "study").iterdir()} == before
    (tcga / "study" / "config.yaml").unlink()
    with pytest.raises(InputError, match=r"samples.tsv: exists"):
        init(Request(Path("study"), slides=Path("slides")))
    assert not (tcga / "study" / "config.yaml").exists()


def test_uuids_without_a_sheet_ask_for_it(tcga: Path) -> None:
    (tcga / "gdc_sample_sheet.2026-11-25.tsv").unlink()
    study = init(Request(Path("study"), Path("slides"), Path("counts")))
    assert "20 STAR files, and no file or folder name holds a patient" in said(study)
    assert "Sample Sheet of the same cart (not the manifest)" in said(study)
    manifest = touch(tcga / "manifest.txt", "id\tfilename\tmd5\tsize\tstate\na\tb.svs\tc\t1\tok\n")
    with pytest.raises(InputError, match=r"is a GDC manifest.*--sample-sheet"):
        init(Request(Path("other"), slides=Path("slides"), sheets=(manifest,)))


def test_a_hospital_with_names_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain tables: columns are named in the configuration; slides by known patients, or a pattern, or left open."""
    monkeypatch.chdir(tmp_path)
    patients = [f"P{i:03d}" for i in range(20)]
    for i, patient in enumerate(patients):
        touch(tmp_path / "my slides" / ("a" if i % 2 else "b") / f"{patient}_HE 1.ndpi")
    touch(tmp_path / "my slides" / "P0010.ndpi")  # no separator behind P001: not his
    touch(tmp_path / "my slides" / "thumb.png")
    touch(tmp_path / "my slides" / "a" / "P001_HE 1.svs")  # the same name as another: the folder tells them apart
    matrix(tmp_path / "counts.tsv", patients)
    clinical = pd.DataFrame(
        {"pid": patients, "grade": ["low", "high"] * 10, "follow_up": range(1, 21), "gone": [1, 0] * 10}
    )
    clinical.rename(columns={"pid": "patient_id"}).to_csv("clinical.tsv", sep="\t", index=False)
    study = init(Request(Path("st"), Path("my slides"), Path("counts.tsv"), Path("clinical.tsv"), label="grade"))
    text = said(study)
    assert "file name begins with a known patient 21" in text
    assert {s.slide_id for s in accepted(study).slides["st"]} >= {"a_P001_HE 1.ndpi", "a_P001_HE 1.svs", "P000_HE 1"}
    assert "1 slides without a patient (P0010)" in text
    assert "1 .png: no slides" in text
    assert "EDIT time and event" in text
    assert "# time: follow_up" in study.config.read_text()
    with open("st/slides_without_patient.tsv") as handle:
        assert [row["slide_id"] for row in csv.DictReader(handle, delimiter="\t")] == ["P0010"]
    settings = accepted(study).cohort("st")["clinical"]
    assert (settings["patient"], settings["label"], settings["time"]) == ("patient_id", "grade", None)
    clinical.assign(os_days=clinical["follow_up"] * 30, os_event=clinical["gone"]).rename(
        columns={"pid": "patient_id"}
    ).to_csv("clinical.tsv", sep="\t", index=False)
    whole = init(Request(Path("w"), Path("my slides"), Path("counts.tsv"), Path("clinical.tsv"), label="grade"))
    settings = accepted(whole).cohort("w")["clinical"]
    assert [settings[k] for k in ("time", "event", "time_unit", "event_is")] == [
        "os_days",
        "os_event",
        "days",
        "1_event",
    ]
    assert "os_days (days) and os_event: 20 patients, 10 events" in said(whole)
    by_pattern = init(Request(Path("p"), slides=Path("my slides"), pattern=r"(P\d{3})"))
    assert "by pattern 22" in said(by_pattern)
    with pytest.raises(InputError, match="no regular expression"):
        init(Request(Path("q"), slides=Path("my slides"), pattern="("))


@pytest.mark.parametrize("kept", ["slides", "expression"])
def test_one_modality_alone_is_a_study(tcga: Path, kept: str) -> None:
    given = {"slides": Path("slides"), "expression": Path("counts")}
    study = init(Request(Path("study"), **{kept: given[kept]}, clinical=Path("brca_tcga"), label="PAM50"))
    plan = accepted(study)
    assert plan.cohort("study")["require"] == "any"
    assert (study.samples is not None) == (kept == "slides")


def test_a_sheet_of_ones_own_links_slides(tmp_path: Path) -> None:
    touch(tmp_path / "links.csv", "slide_id,patient_id\nscan1,X1\nscan2.svs,X2\n")
    slides = find_slides_of(tmp_path / "s", ["scan1.svs", "scan2.svs", "scan3.svs"])
    linked = link_patients(slides, tmp_path / "s", read_links(tmp_path / "links.csv"))
    assert [s.patient for s in linked] == ["X1", "X2", ""]
    touch(tmp_path / "bad.csv", "a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column of files"):
        read_links(tmp_path / "bad.csv")


def find_slides_of(folder: Path, names: list[str]):
    for name in names:
        touch(folder / name)
    return find_slides(folder).slides


def test_formats_of_slides(tmp_path: Path) -> None:
    for name in ("a.ome.tif", "b.mrxs", "b/Slidedat.ini", "series/1.dcm", "series/2.dcm", "one/1.dcm", ".hidden.svs"):
        touch(tmp_path / name)
    found = {s.slide_id: s.path.relative_to(tmp_path).as_posix() for s in find_slides(tmp_path).slides}
    assert found == {"a": "a.ome.tif", "b": "b.mrxs", "series": "series", "1": "one/1.dcm"}
    touch(tmp_path / "none" / "x.txt")
    with pytest.raises(InputError, match=r"no slide in this folder \(1 .txt\)"):
        find_slides(tmp_path / "none")
    touch(tmp_path / "pictures" / "x.png")
    assert [s.slide_id for s in find_slides(tmp_path / "pictures").slides] == ["x"]


def test_words_that_yaml_would_read_otherwise() -> None:
    for text in (
        "no",
        "1e3",
        "12",
        "a: b",
        "#x",
        "ü ß",
        'say "x"',
        "plain/path-1.tsv",
        "~",
        "0x1F",
        "2026-11-25",
        "*a",
    ):
        assert yaml.safe_load(f"k: {scalar(text)}    # c") == {"k": text}
    assert line_of("a: 1\nclinical:\n  path: x\n  # label: y\n", "clinical.label") == 4


def test_the_command_prints_what_comes_next(tcga: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "study", "--slides", "slides", "--clinical", "brca_tcga", "--label", "PAM50"]) == 0
    out = capsys.readouterr().out
    assert "Wrote study/config.yaml and study/samples.tsv." in out
    assert "snakemake doctor --cores all --configfile study/config.yaml" in out
    assert "efficientnet-lite0, licence Apache-2.0" in out
    assert main(["init", "study", "--slides", "slides"]) == 1
    assert "exists; nothing was written" in capsys.readouterr().err
    assert main(["init", "x", "--slides", "slides", "--encoder", "uni3"]) == 1
    assert "no encoder named 'uni3'" in capsys.readouterr().err


def test_the_launcher_needs_nothing_activated(tcga: Path) -> None:
    """From another folder, with an empty environment but for the system's paths."""
    done = subprocess.run(
        [ROOT / "mirror", "init", "--help"], cwd=tcga, capture_output=True, text=True,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}, check=True,
    )  # fmt: skip
    assert "--sample-sheet" in done.stdout


def features(folder: Path, tool: str, patients: list[str]) -> Path:
    """Features as a tool writes them, eight wide; the folder to name."""
    inner = {"trident": "features_uni_v1", "clam": "h5_files", "stamp": "uni-1a2b", "pt": "."}[tool]
    (folder / inner).mkdir(parents=True)
    for patient in patients:
        file = folder / inner / f"{patient}-01Z-00-DX1.{patient[-4:]}{'.pt' if tool == 'pt' else '.h5'}"
        if tool == "pt":
            torch.save(torch.zeros(3, 8), file)
            continue
        with h5py.File(file, "w") as opened:
            opened["feats" if tool == "stamp" else "features"] = np.zeros((3, 8), np.float32)
            opened["coords"] = np.zeros((3, 2), int)
    return folder


@pytest.mark.parametrize(
    ("tool", "encoder"), [("trident", "uni_v1"), ("clam", "imported"), ("stamp", "uni"), ("pt", "imported")]
)
def test_features_of_other_tools_are_a_study(tcga: Path, tool: str, encoder: str) -> None:
    made = features(tcga / "made", tool, PATIENTS)
    study = init(Request(Path("study"), None, Path("counts"), Path("brca_tcga"), label="PAM50", features=made))
    config = yaml.safe_load(study.config.read_text())
    (source,) = config["cohorts"]["study"]["features"]
    assert (source["format"], source["width"], source["encoder"]) == (tool, 8, encoder)
    assert "encoders" not in config
    plan = Plan.read(config, ROOT)
    assert plan.encoders_of("study") == [encoder] and not plan.has_pixels("study")
    assert {s.patient_id for s in plan.slides["study"]} == set(PATIENTS)
    assert any(row.what == "features" and f"{tool}: {len(PATIENTS)} slides" in row.value for row in study.rows)


def test_features_of_two_encoders_are_not_guessed(tmp_path: Path) -> None:
    features(tmp_path / "made", "trident", ["TCGA-A1-0000"])
    (tmp_path / "made" / "features_conch").mkdir()
    with pytest.raises(InputError, match=r"several encoders \(features_conch, features_uni_v1\).*give one"):
        find_features(tmp_path / "made")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no features"):
        find_features(tmp_path / "empty")


def test_small_sizes_are_marked_and_can_be_removed(tcga: Path) -> None:
    given = (Path("slides"), Path("counts"), Path("brca_tcga"))
    study = init(Request(Path("a"), *given, label="PAM50", cohort="C", small=True))
    small = study.config.read_text()
    assert accepted(study).variants["mirror"]["model"]["embed_dim"] == 64
    kept = [line for line in small.split("\n\n# Small sizes")[0].splitlines() if "# small;" not in line]
    plain = init(Request(Path("b"), *given, label="PAM50", cohort="C")).config.read_text()
    wanted = plain.replace("title: b", "title: a").replace("b/", "a/").strip().splitlines()
    assert [line for line in kept if line not in ("", "evaluation:")] == [line for line in wanted if line]
