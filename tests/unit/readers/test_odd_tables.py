"""Files as other people write them: one answer however they are written, or one clear error."""

from __future__ import annotations

import csv
import gzip

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.config.sources import ClinicalSource, ExpressionSource
from mirror.core.errors import InputError
from mirror.readers.clinical import read_clinical
from mirror.readers.expression import read_expression

N, G = 12, 30
PATIENTS = [f"TCGA-AB-{1000 + i}" for i in range(N)]
GENES = ["TP53", "HLA-A", "AC004.1", "C1orf112", "EGFR", "MYC", *(f"GENE{i}" for i in range(G - 6))]
VALUES = np.round(np.random.default_rng(0).uniform(0.1, 14, (N, G)), 3).astype(np.float32)


def read(path, patients=None, **settings_):
    """Read with settings."""
    return read_expression(ExpressionSource(path=str(path), **settings_), patients)


def table(ids=PATIENTS, genes=GENES, values=VALUES) -> pd.DataFrame:
    """Samples in rows, three decimals."""
    return pd.DataFrame(values.astype(float).round(3), index=list(ids), columns=list(genes))


def same(adata, ids=PATIENTS, genes=GENES, values=VALUES) -> None:
    """The matrix is ``values``, by name."""
    assert sorted(adata.obs_names) == sorted(ids)
    assert list(adata.var_names) == list(genes)
    np.testing.assert_allclose(adata[list(ids)].X, values, rtol=1e-6, atol=1e-5)


SPELLED = {
    "barcode": lambda patient, k: patient,
    "lower case": lambda patient, k: patient.lower(),
    "dots": lambda patient, k: f"{patient}-01A-11R-A123-07".replace("-", "."),
    "Mixed": lambda patient, k: f"{patient}-01a".title(),
    "TARGET": lambda patient, k: f"TARGET-30-P{k:05d}-01A",
    "number": lambda patient, k: str(k),
}
OWNER = {"TARGET": lambda k: f"TARGET-30-P{k:05d}", "number": lambda k: str(k)}
NAMED = {
    "symbol": GENES,
    "ensembl": [f"ENSG{i:011d}.{i % 9}" for i in range(G)],
    "transcript": [f"ENST{i:011d}.1" for i in range(G)],
    "entrez": [str(7157 + i) for i in range(G)],
    "legacy": [f"{name}|{7157 + i}" for i, name in enumerate(GENES)],
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_however_a_matrix_is_written_it_is_read_the_same(tmp_path, data):
    """Delimiter, quotes, line ends, encoding, gzip, orientation, corner, spellings: the same numbers."""
    draw = lambda *choices: data.draw(st.sampled_from(choices))  # noqa: E731
    spelling, naming = draw(*SPELLED), draw(*NAMED)
    turned, first = draw(True, False), draw(0, 1, 100)
    ids = [SPELLED[spelling](patient, first + k) for k, patient in enumerate(PATIENTS)]
    owners = [OWNER[spelling](first + k) for k in range(N)] if spelling in OWNER else PATIENTS
    frame = table(ids, NAMED[naming])
    frame = frame.T if turned else frame
    frame.index.name = draw(None, "", *(("gene", "sample", "Ensembl_ID") if turned else ("patient_id", "case_id")))
    text = frame.to_csv(
        sep=draw(",", "\t", ";"),
        quoting=draw(csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC),
        lineterminator=draw("\n", "\r\n", "\r"),
    ).encode(draw("utf-8", "utf-8-sig", "utf-16"))
    path = tmp_path / "m.csv"
    path.write_bytes(gzip.compress(text) if draw(True, False) else text)
    adata, _ = read(path, owners)
    bare = [name.split("|")[0] for name in NAMED[naming]]
    same(adata, owners, [name.split(".")[0] if name.startswith("ENS") else name for name in bare])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("header_too", [False, True])
def test_delimiters_at_the_ends_of_lines_shift_nothing(tmp_path, turned, header_too):
    """A comma that ends the rows only must not be taken for R's missing corner."""
    frame = table().T if turned else table()
    head, *rows = frame.rename_axis("id").to_csv().splitlines()
    (tmp_path / "m.csv").write_text("\n".join([head + "," * header_too, *(row + "," for row in rows)]))
    same(read(tmp_path / "m.csv", PATIENTS)[0])


@pytest.mark.parametrize("mark", ["", "NA", "n/a", "-", "N.A.", "#N/A", "null", "NaN"])
@pytest.mark.parametrize("turned", [False, True])
def test_marks_of_missing_values(tmp_path, mark, turned):
    """Missing is missing, not 0; a gene without one value is left out."""
    gaps = VALUES.copy()
    gaps[:, 4], gaps[2, 5] = np.nan, np.nan
    frame = table(values=gaps)
    (frame.T if turned else frame).to_csv(tmp_path / "m.csv", na_rep=mark)
    adata, _ = read(tmp_path / "m.csv", missing="median")
    same(adata, genes=[*GENES[:4], *GENES[5:]], values=np.delete(gaps, 4, axis=1))


def test_clinical_columns_are_no_genes(tmp_path):
    """Follow-up among the genes would leak; what only looks odd is reported."""
    frame = table()
    for name in ("futime", "OS.time", "tumor_purity", "Age_at_diagnosis"):
        frame.insert(2, name, np.arange(N) * 30.0)
    frame.insert(0, "strange", 1.5)
    frame.to_csv(tmp_path / "m.csv")
    adata, report = read(tmp_path / "m.csv")
    assert set(report["reader"]["columns_left_out"]) == {"futime", "OS.time", "tumor_purity", "Age_at_diagnosis"}
    assert list(adata.var_names) == ["strange", *GENES]
    assert any("strange" in line for line in report["warnings"])


@pytest.mark.parametrize("container", ["csv", "parquet", "h5ad"])
def test_a_patient_column_does_not_hide_normals(tmp_path, container):
    """Beside an index of sample barcodes, a column of patients must not win: normals would come in."""
    frame = table([f"{p}-{'11' if i == 0 else '01'}A" for i, p in enumerate(PATIENTS)])
    path = tmp_path / f"m.{container}"
    if container == "h5ad":
        var = pd.DataFrame(index=GENES)
        ad.AnnData(VALUES, obs=pd.DataFrame({"patient_id": PATIENTS}, index=frame.index), var=var).write_h5ad(path)
    else:
        frame.insert(0, "patient_id", PATIENTS)
        frame.to_csv(path) if container == "csv" else frame.to_parquet(path)
    adata, report = read(path, PATIENTS)
    same(adata, PATIENTS[1:], values=VALUES[1:])
    assert sum(report["samples"]["normals_excluded"].values()) == 1


def test_parquet_identifiers(tmp_path):
    """Left-over row numbers, or whole numbers as patients: the named column counts."""
    frame = table().rename_axis("patient_id").reset_index()
    frame.index = np.arange(N) * 5
    frame.to_parquet(tmp_path / "a.parquet")
    same(read(tmp_path / "a.parquet")[0])
    numbers = [str(100 + i) for i in range(N)]
    frame.assign(patient_id=np.arange(N) + 100).reset_index(drop=True).to_parquet(tmp_path / "b.parquet")
    same(read(tmp_path / "b.parquet", numbers)[0], numbers)


def test_porpoise_columns_in_parquet(tmp_path):
    """Copy numbers and mutations beside the genes are no genes in this container either."""
    frame = table(genes=[f"{gene}_rnaseq" for gene in GENES])
    frame.insert(0, "TP53_cnv", 1)
    frame.insert(0, "censorship", 1)
    frame.rename_axis("case_id").reset_index().to_parquet(tmp_path / "a.parquet")
    same(read(tmp_path / "a.parquet")[0])


def test_h5ad_identifiers(tmp_path):
    """A column with one value names nobody; rows without a name are left out; a transposed file is refused."""
    adata = ad.AnnData(VALUES, obs=pd.DataFrame({"sample": "tumour"}, index=PATIENTS), var=pd.DataFrame(index=GENES))
    adata.write_h5ad(tmp_path / "a.h5ad")
    same(read(tmp_path / "a.h5ad")[0])
    adata.obs = pd.DataFrame({"case_id": [None, *PATIENTS[1:]]}, index=[f"row{i}" for i in range(N)])
    adata.write_h5ad(tmp_path / "b.h5ad")
    found, report = read(tmp_path / "b.h5ad")
    same(found, PATIENTS[1:], values=VALUES[1:])
    assert report["samples"]["samples_without_identifier"] == 1
    ad.AnnData(VALUES.T, obs=pd.DataFrame(index=GENES), var=pd.DataFrame(index=PATIENTS)).write_h5ad(
        tmp_path / "c.h5ad"
    )
    for patients in (None, PATIENTS):
        with pytest.raises(InputError, match="it is transposed"):
            read(tmp_path / "c.h5ad", patients)


def test_samples_named_after_their_patient(tmp_path):
    """TARGET's and CPTAC's samples begin with the patient; TARGET's normals are left out."""
    target = [f"TARGET-30-PA{i:04d}" for i in range(N)]
    table([f"{p}-{'11' if i == 0 else '01'}A" for i, p in enumerate(target)]).T.to_csv(tmp_path / "t.tsv", sep="\t")
    adata, report = read(tmp_path / "t.tsv", target)
    same(adata, target[1:], values=VALUES[1:])
    assert report["samples"]["samples_named_after_a_patient"] == N - 1
    assert any("begins with" in line for line in report["warnings"])


def test_cbioportal_sample_file_names_patients(tmp_path):
    """Samples that are no barcodes are looked up in the study's own sample table; metastases come second."""
    samples = [f"S{i}" for i in range(N)] + ["S99"]
    frame = table(samples, values=np.vstack([VALUES, VALUES[:1] + 1]) * 100).T.rename_axis("Hugo_Symbol")
    frame.to_csv(tmp_path / "data_mrna_seq_v2_rsem.txt", sep="\t")
    types = ["Primary"] * N + ["Metastasis"]
    rows = "".join(f"P{s[1:] if s != 'S99' else 0}\t{s}\t{t}\n" for s, t in zip(samples, types, strict=True))
    head = "#Patient Identifier\tSample Identifier\tSample Type\n#a\tb\tc\nPATIENT_ID\tSAMPLE_ID\tSAMPLE_TYPE\n"
    (tmp_path / "data_clinical_sample.txt").write_text(head + rows)
    adata, report = read(tmp_path / "data_mrna_seq_v2_rsem.txt")
    same(adata, [f"P{i}" for i in range(N)], values=VALUES * 100)
    assert report["samples"]["samples_of_less_preferred_type"] == 1


def test_gct_and_probe_maps_with_commas(tmp_path):
    """A GCT's two first lines are passed over; a probe map may be a CSV."""
    frame = table().T.rename_axis("Name")
    frame.insert(0, "Description", GENES)
    (tmp_path / "m.gct").write_text(f"#1.2\n{G}\t{N}\n" + frame.to_csv(sep="\t"))
    same(read(tmp_path / "m.gct")[0])
    (tmp_path / "map.csv").write_text("#id,gene,chrom\n" + "".join(f"{g},sym{g},chr1\n" for g in GENES))
    table([f"{p}-01" for p in PATIENTS]).T.rename_axis("sample").to_csv(tmp_path / "x.tsv", sep="\t")
    found = read(tmp_path / "x.tsv", probe_map=str(tmp_path / "map.csv"))[0]
    assert list(found.var["symbol"]) == [f"sym{gene}" for gene in GENES]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [row.replace(".", ",", 1) for row in rows], "decimal commas"),
        (lambda rows: [*rows[:9], rows[9].rsplit(";", 1)[0] + ";1_000", *rows[10:]], "1_000"),
        (lambda rows: [*rows[:9], rows[9].rsplit(";", 1)[0] + ";oops", *rows[10:]], "oops"),
        (lambda rows: [*rows[:9], rows[9][:20], *rows[10:]], "fields where the header has"),
        (lambda rows: [rows[0], *(row.split(";")[0] + ";" * G for row in rows[1:])], "no number"),
    ],
)
def test_numbers_that_are_none_are_errors(tmp_path, change, words):
    """One line with the file and what is wrong."""
    (tmp_path / "m.csv").write_text("\n".join(change(table().to_csv(sep=";").splitlines())))
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path / "m.csv")
    assert "m.csv" in str(caught.value) and "\n" not in str(caught.value)


CLINIC = pd.DataFrame(
    {"sample": [f"{p}-01" for p in PATIENTS], "_PATIENT": PATIENTS, "OS": [0, 1] * 6, "OS.time": np.arange(N) * 100.0,
     "PFI": [1, 0] * 6, "PFI.time": np.arange(N) * 50.0, "cancer type abbreviation": ["LUAD", "LUSC"] * 6,
     "age_at_initial_pathologic_diagnosis": [*(["50"] * (N - 2)), ">89", "90+"]}
)  # fmt: skip


def clinical(tmp_path, frame, index=False, **source):
    """Write and read a clinical table."""
    frame.to_csv(tmp_path / "c.tsv", sep="\t", index=index)
    return read_clinical(ClinicalSource(path=str(tmp_path / "c.tsv"), **source))


def test_survival_tables_of_xena(tmp_path):
    """The TCGA-CDR as Xena gives it: days, one row per sample, the endpoint asked for; capped ages are read."""
    found, report = clinical(tmp_path, CLINIC, endpoint="PFI")
    assert report["format"] == "tcga_cdr" and list(found["patient_id"]) == PATIENTS
    assert found["time_days"].tolist() == CLINIC["PFI.time"].tolist() and found["event"].tolist() == [1, 0] * 6
    assert set(found["label"]) == {"LUAD", "LUSC"} and found["age"].tolist()[-2:] == [89, 90]
    with pytest.raises(InputError, match="DFI"):
        clinical(tmp_path, CLINIC, endpoint="DFI")


def test_an_endpoint_is_not_answered_with_another(tmp_path):
    """A plain table's ``time_days`` is not taken for PFI; a column that is named, or says so, is."""
    plain = CLINIC.rename(columns={"_PATIENT": "patient_id", "OS": "event", "OS.time": "time_days"})
    plain = plain.rename(columns={"PFI.time": "PFI_days"})
    found, _ = clinical(tmp_path, plain, endpoint="PFI")
    assert found["time_days"].tolist() == CLINIC["PFI.time"].tolist() and found["event"].tolist() == [1, 0] * 6
    with pytest.raises(InputError, match="times to DSS"):
        clinical(tmp_path, plain, endpoint="DSS")


def test_patients_in_an_unnamed_index(tmp_path):
    """An index of barcodes without a name is the patients' column; row numbers are not."""
    frame = pd.DataFrame({"label": ["a", "b"] * 6, "time_days": 5.0, "event": [0, 1] * 6}, index=PATIENTS)
    assert list(clinical(tmp_path, frame, index=True)[0]["patient_id"]) == PATIENTS
    frame.to_parquet(tmp_path / "c.parquet")
    assert list(read_clinical(ClinicalSource(path=str(tmp_path / "c.parquet")))[0]["patient_id"]) == PATIENTS
    with pytest.raises(InputError, match="patient_id"):
        clinical(tmp_path, frame.reset_index(drop=True), index=True)
