"""Matrices either way round, in every container, and the policies that every format shares."""

from __future__ import annotations

import gzip
import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.config.sources import ExpressionSource
from mirror.core.errors import InputError
from mirror.readers.expression import read_expression, write_expression

PATIENTS = ["TCGA-AA-0001", "TCGA-AA-0002", "TCGA-BB-0003", "TCGA-BB-0004"]
GENES = ["TP53", "HLA-A", "AC004.1", "EGFR", "NKX2-1"]


def counts(n_genes: int = 5, n: int = 4, seed: int = 0) -> np.ndarray:
    """Whole numbers (genes, samples)."""
    return np.random.default_rng(seed).integers(0, 5000, (n_genes, n))


def frame(samples: list[str] | None = None) -> pd.DataFrame:
    """A small table with genes in rows."""
    samples = samples or [f"{p}-01" for p in PATIENTS]
    return pd.DataFrame(counts(n=len(samples)), index=pd.Index(GENES, name="gene"), columns=samples)


def read(path, patients=None, **settings_):
    """Read with settings."""
    return read_expression(ExpressionSource(path=str(path), **settings_), patients)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet", ".zip"])
@pytest.mark.parametrize("turned", [False, True])
def test_every_container_and_orientation_gives_the_same(tmp_path, suffix, turned):
    """CSV, TSV, gz, parquet and zip, genes in rows or in columns: one answer."""
    table = frame().T.rename_axis("sample_id") if turned else frame()
    path = tmp_path / f"matrix{suffix}"
    if suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, sep="\t" if suffix == ".tsv" else ",")
    adata, report = read(path)
    assert list(adata.obs_names) == PATIENTS
    assert list(adata.var_names) == GENES
    np.testing.assert_array_equal(adata.X, frame().T.to_numpy(np.float32))
    assert adata.X.dtype == np.float32
    assert report["values"]["kind"] == "counts"
    assert list(adata.obs["sample_id"]) == [f"{p}-01" for p in PATIENTS]
    assert json.loads(adata.uns["mirror"])["n_genes"] == 5


def test_only_the_cohort_is_read(tmp_path):
    """Patients restrict what is read, in the file's order; those without expression are counted."""
    path = tmp_path / "m.csv"
    frame().to_csv(path)
    adata, report = read(path, ["tcga-bb-0003", "TCGA.AA.0001.01A", "TCGA-ZZ-9999"])
    assert list(adata.obs_names) == ["TCGA-AA-0001", "TCGA-BB-0003"]
    np.testing.assert_array_equal(adata.X, frame().T.to_numpy(np.float32)[[0, 2]])
    assert report["patients_without_expression"] == 1
    assert report["samples"]["samples_of_other_patients"] == 2


def test_normals_are_excluded_and_primaries_preferred(tmp_path):
    """A normal is counted and left out; a metastasis counts only where there is no primary."""
    samples = ["TCGA-AA-0001-11A", "TCGA-AA-0001-01A", "TCGA-AA-0002-06A", "TCGA-BB-0003-06A", "TCGA-BB-0003-01B"]
    path = tmp_path / "m.tsv"
    frame(samples).to_csv(path, sep="\t")
    adata, report = read(path)
    assert adata.obs["sample_id"].to_dict() == {
        "TCGA-AA-0001": "TCGA-AA-0001-01A",
        "TCGA-AA-0002": "TCGA-AA-0002-06A",
        "TCGA-BB-0003": "TCGA-BB-0003-01B",
    }
    assert report["samples"]["normals_excluded"] == {"11 Solid Tissue Normal": 1}
    assert report["samples"]["samples_of_less_preferred_type"] == 1
    assert adata.obs.loc["TCGA-AA-0002", "sample_type"] == "Metastatic"


@pytest.mark.parametrize(("policy", "expected"), [("first", [10, 0]), ("mean", [20, 5]), ("highest_total", [30, 10])])
def test_duplicates_follow_the_policy(tmp_path, policy, expected):
    """Two vials with different values: first, mean or deepest; equal rows need no policy."""
    path = tmp_path / "m.csv"
    pd.DataFrame(
        {
            "TCGA-AA-0001-01A": [10, 0],
            "TCGA-AA-0001-01B": [30, 10],
            "TCGA-AA-0002-01A": [7, 8],
            "TCGA-AA-0002-01B": [7, 8],
        },
        index=["TP53", "EGFR"],
    ).to_csv(path)
    adata, report = read(path, duplicates=policy, values="counts")
    np.testing.assert_array_equal(adata.X, [expected, [7, 8]])
    assert report["duplicates"]["patients_with_different_samples_examples"] == ["TCGA-AA-0001"]
    assert report["duplicates"]["equal_rows_merged"] == 1
    with pytest.raises(InputError, match="TCGA-AA-0001"):
        read(path, duplicates="error", values="counts")


def test_mean_leaves_missing_cells_out(tmp_path):
    """The mean of a number and a gap is the number."""
    path = tmp_path / "m.csv"
    pd.DataFrame({"TCGA-AA-0001-01A": [10, 4], "TCGA-AA-0001-01B": [np.nan, 8]}, index=["TP53", "EGFR"]).to_csv(path)
    adata, _ = read(path, duplicates="mean", values="counts", missing="error")
    np.testing.assert_array_equal(adata.X, [[10, 6]])


def test_missing_values_are_never_zero(tmp_path):
    """NaN drops the gene, stays NaN for the fold's median, or is refused."""
    table = frame().astype(float)
    table.iloc[1, 2] = np.nan
    path = tmp_path / "m.csv"
    table.to_csv(path)
    adata, report = read(path)
    assert list(adata.var_names) == ["TP53", "AC004.1", "EGFR", "NKX2-1"]
    assert report["rules"]["missing"] | {"policy": ""} == {
        "policy": "", "cells": 1, "infinite_cells": 0, "genes": 1, "genes_dropped": 1, "examples": ["HLA-A"],
    }  # fmt: skip
    kept, _ = read(path, missing="median")
    assert np.isnan(kept.X[2, 1]) and np.isnan(kept.X).sum() == 1
    with pytest.raises(InputError, match="HLA-A"):
        read(path, missing="error")


def test_a_sample_without_values_does_not_cost_every_gene(tmp_path):
    """An empty column is left out as a sample, not as all genes."""
    table = frame().astype(float)
    table.iloc[:, 1] = np.nan
    path = tmp_path / "m.csv"
    table.to_csv(path)
    adata, report = read(path)
    assert adata.shape == (3, 5)
    assert report["samples"]["all_missing"] == ["TCGA-AA-0002-01"]


def test_constant_genes_are_counted_and_kept_or_dropped(tmp_path):
    """A constant gene is named; the rule decides."""
    table = frame()
    table.loc["EGFR"] = 3
    path = tmp_path / "m.csv"
    table.to_csv(path)
    adata, report = read(path)
    assert "EGFR" in adata.var_names and report["rules"]["constant"]["examples"] == ["EGFR"]
    dropped, _ = read(path, constant_genes="drop")
    assert "EGFR" not in dropped.var_names


def test_extreme_z_scores_are_reported(tmp_path):
    """z-scores of 36,893 are clipped, kept, dropped with the gene, or refused; counted each time."""
    rng = np.random.default_rng(1)
    z = pd.DataFrame(rng.normal(size=(12, 30)), columns=[f"G{i}" for i in range(30)])
    z.index = pd.Index([f"TCGA-AA-{i:04d}" for i in range(12)], name="patient_id")
    z.iloc[3, 4] = 36893.3
    path = tmp_path / "z.csv"
    z.to_csv(path)
    adata, report = read(path)
    assert report["values"]["kind"] == "zscore"
    assert adata.X[3, 4] == 10 and report["rules"]["extreme"]["cells"] == 1
    assert report["rules"]["extreme"]["worst"] == {"G4": pytest.approx(36893.3)}
    assert any("36893.3" in line for line in report["warnings"])
    assert read(path, extreme="keep")[0].X[3, 4] == np.float32(36893.3)
    assert "G4" not in read(path, extreme="drop_gene")[0].var_names
    with pytest.raises(InputError, match="G4"):
        read(path, extreme="error")


def test_gene_identifiers(tmp_path):
    """Versions go, PAR_Y stays apart, symbols keep dots and hyphens, dates are flagged, duplicates merged."""
    names = ["ENSG00000182378.15", "ENSG00000182378.15_PAR_Y", "ENSG00000000003.7", "HLA-DRB1", "AC004.1", "1-Mar",
             "MARCH1", "2-Sep", "TSPAN6|7105", "?|100130426", "HLA-DRB1", "Sep-02"]  # fmt: skip
    table = pd.DataFrame(counts(len(names), 3), index=names, columns=[f"{p}-01" for p in PATIENTS[:3]])
    path = tmp_path / "m.csv"
    table.to_csv(path)
    adata, report = read(path)
    assert list(adata.var_names) == [
        "ENSG00000182378", "ENSG00000182378_PAR_Y", "ENSG00000000003", "HLA-DRB1", "AC004.1", "1-Mar", "MARCH1",
        "2-Sep", "TSPAN6", "entrez:100130426", "Sep-02",
    ]  # fmt: skip
    np.testing.assert_array_equal(adata.X[:, 3], table.to_numpy()[[3, 10]].sum(axis=0))
    assert report["genes"]["names_made_into_dates"] == {
        "1-Mar": "MARCHF1 or MTARC1", "2-Sep": "SEPTIN2", "Sep-02": "SEPTIN2",
    }  # fmt: skip
    assert report["genes"]["old_names_spreadsheets_turn_into_dates"] == ["MARCH1"]
    assert report["genes"]["ensembl_versions_stripped"] == 3
    assert adata.var.loc["TSPAN6", "entrez"] == "7105"
    first, _ = read(path, gene_duplicates="first")
    np.testing.assert_array_equal(first.X[:, 3], table.to_numpy()[3])
    with pytest.raises(InputError, match="HLA-DRB1"):
        read(path, gene_duplicates="error")


def test_annotation_columns_become_var(tmp_path):
    """Symbols and types beside the samples are kept; row numbers of a saved data frame are not genes."""
    table = frame().reset_index(names="gene_id")
    table.insert(1, "gene_name", [f"S{i}" for i in range(5)])
    table.insert(2, "Description", "x")
    path = tmp_path / "m.csv"
    table.to_csv(path)  # with row numbers
    adata, _ = read(path)
    assert list(adata.var_names) == GENES
    assert list(adata.var["symbol"]) == [f"S{i}" for i in range(5)]
    assert adata.n_obs == 4


def test_r_tables_without_a_corner_are_read(tmp_path):
    """R's write.table leaves the corner of the header out and turns dashes into dots."""
    path = tmp_path / "m.txt"
    table = frame([f"{p}-01A-11R-A41B-07".replace("-", ".") for p in PATIENTS])
    text = table.to_csv(sep="\t").split("\n", 1)
    path.write_text(text[0].split("\t", 1)[1] + "\n" + text[1])
    adata, _ = read(path)
    assert list(adata.obs_names) == PATIENTS and adata.n_vars == 5


def test_sample_sheet_names_patients_of_other_cohorts(tmp_path):
    """Identifiers that are no barcodes are joined by a sheet; its normals are left out."""
    frame(["s1", "s2", "s3", "s4"]).to_csv(tmp_path / "m.csv")
    sheet = "sample_id\tpatient_id\tsample_type\ns1\tP1\tPrimary Tumor\ns2\tP1\tSolid Tissue Normal\n"
    (tmp_path / "sheet.tsv").write_text(sheet + "s3\tP2\tPrimary Tumor\ns4\tP3\tPrimary Tumor\n")
    adata, report = read(tmp_path / "m.csv", ["P1", "P3"], sample_sheet=str(tmp_path / "sheet.tsv"))
    assert list(adata.obs_names) == ["P1", "P3"]
    assert report["samples"]["normals_excluded"] == {"11 Solid Tissue Normal": 1}


def test_orientation_that_contradicts_the_names(tmp_path):
    """A stated orientation that would take patients for genes is refused; one that cannot be told is asked for."""
    frame().to_csv(tmp_path / "m.csv")
    with pytest.raises(InputError, match=r"would be genes are samples \(TCGA-AA-0001-01\)"):
        read(tmp_path / "m.csv", orientation="samples_by_genes")
    table = pd.DataFrame(counts(3, 3), index=["a_1", "b_1", "c_1"], columns=["x_1", "y_1", "z_1"])
    table.rename_axis("name").to_csv(tmp_path / "u.csv")
    with pytest.raises(InputError, match="cannot tell which way round"):
        read(tmp_path / "u.csv")
    assert list(read(tmp_path / "u.csv", orientation="samples_by_genes")[0].obs_names) == ["a_1", "b_1", "c_1"]


def test_written_file_opens_again(tmp_path):
    """The h5ad holds what was read, with its record, and half a file is never left."""
    frame().to_csv(tmp_path / "m.csv.gz")
    adata, report = read(tmp_path / "m.csv.gz")
    write_expression(adata, tmp_path / "out" / "x.raw.h5ad")
    again = ad.read_h5ad(tmp_path / "out" / "x.raw.h5ad")
    np.testing.assert_array_equal(again.X, adata.X)
    assert json.loads(again.uns["mirror"])["values"]["kind"] == report["values"]["kind"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["x.raw.h5ad"]


def test_script_reads_the_slide_tables_patients(tmp_path):
    """The rule's script reads only the patients of the slide table and writes one whole file."""
    from read_expression import main

    frame().to_csv(tmp_path / "m.csv")
    (tmp_path / "samples.tsv").write_text(
        "slide_id\tpatient_id\ns1\tTCGA-BB-0004\ns2\tTCGA-BB-0004\ns3\tTCGA-ZZ-0001\n"
    )
    main({"path": str(tmp_path / "m.csv")}, tmp_path / "x.raw.h5ad", "demo", samples=[tmp_path / "samples.tsv"])
    adata = ad.read_h5ad(tmp_path / "x.raw.h5ad")
    assert list(adata.obs_names) == ["TCGA-BB-0004"] and json.loads(adata.uns["mirror"])["cohort"] == "demo"
    (tmp_path / "samples.tsv").write_text("slide_id\tpatient\ns1\tTCGA-BB-0004\n")
    with pytest.raises(InputError, match="no column 'patient_id'"):
        main({"path": str(tmp_path / "m.csv")}, tmp_path / "y.h5ad", samples=[tmp_path / "samples.tsv"])
    assert not (tmp_path / "y.h5ad").exists()


def test_h5ad_source(tmp_path):
    """A sparse h5ad with a layer and a patient column is read by rows."""
    from scipy import sparse

    source = ad.AnnData(sparse.csr_matrix(frame().T.to_numpy(np.float32)), obs=pd.DataFrame({"patient_id": PATIENTS}))
    source.obs_names = [f"cell{i}" for i in range(4)]
    source.var_names = GENES
    source.layers["tpm"] = np.full((4, 5), 2e5, np.float32) + 0.5
    source.write_h5ad(tmp_path / "s.h5ad")
    adata, report = read(tmp_path / "s.h5ad", PATIENTS[1:3])
    assert report["format"] == "h5ad" and list(adata.obs_names) == PATIENTS[1:3]
    np.testing.assert_array_equal(adata.X, frame().T.to_numpy(np.float32)[1:3])
    assert read(tmp_path / "s.h5ad", layer="tpm")[1]["values"]["kind"] == "tpm"
    with pytest.raises(InputError, match="no layer 'fpkm'"):
        read(tmp_path / "s.h5ad", layer="fpkm")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from(list('\t,;"#-01.eNA TCGAx\n\r_|')), max_size=200))
def test_random_headers_give_a_table_or_one_clear_error(tmp_path, text):
    """Whatever the text, reading ends in a matrix or in an InputError of one line."""
    path = tmp_path / "fuzz.csv"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        adata, _ = read(path)
    except InputError as error:
        assert "\n" not in str(error) and "fuzz.csv" in str(error)
    else:
        assert adata.n_obs > 0 and adata.n_vars > 0


def test_gz_is_recognised_by_content(tmp_path):
    """A gz file without its suffix is still opened."""
    with gzip.open(tmp_path / "m.csv", "wt") as handle:
        handle.write(frame().to_csv())
    assert read(tmp_path / "m.csv")[0].shape == (4, 5)
