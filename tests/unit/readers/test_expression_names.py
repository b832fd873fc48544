"""Columns and gene names that lie: several value types per sample, names that became dates or numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expression_tables import PATIENTS, SYMBOLS, G, N, counts, read, said, tpm, write
from mirror.core.errors import InputError
from mirror.readers.expression.genes import canonical_genes, date_origin

TYPES = ["unstranded", "stranded_first", "stranded_second", "tpm_unstranded", "fpkm_unstranded", "fpkm_uq_unstranded"]


@pytest.mark.fault(
    stage="expression",
    fault="several columns per sample: counts, TPM and FPKM of the same samples in one table, as prefix or suffix",
    sees="which types there are and which is read; or the question which is meant, with the setting",
    survives="twelve patients stay twelve, and counts stay counts",
)
@pytest.mark.parametrize(
    ("pattern", "barcodes", "by_type"),
    [("{t}_{s}", True, True), ("{s}_{t}", True, False), ("{s}.{t}", False, True), ("{s} ({t})", False, False),
     ("{t}|{s}", False, True), ("{t}_{s}", False, False)],
)  # fmt: skip
def test_one_of_six_value_types_is_read(tmp_path: Path, pattern: str, barcodes: bool, by_type: bool) -> None:
    samples = [f"{p}-01A" for p in PATIENTS] if barcodes else [f"S{i + 1}" for i in range(N)]
    x = counts()
    scaled = {t: x if t == "unstranded" else x / (2 + k) + (0.25 if "pkm" in t else 0) for k, t in enumerate(TYPES)}
    order = [(t, i) for t in TYPES for i in range(N)] if by_type else [(t, i) for i in range(N) for t in TYPES]
    names = [pattern.format(t=t, s=samples[i]) for t, i in order]
    path = write(tmp_path / "m.tsv", np.stack([scaled[t][i] for t, i in order]), names, SYMBOLS)
    adata, report = read(path)
    assert adata.n_obs == N and (x == adata.X).all() and report["values"]["kind"] == "counts"
    assert "6 columns per sample" in said(report) and "unstranded is read" in said(report)
    other, _ = read(path, column="fpkm_unstranded")
    assert other.n_obs == N and np.allclose(other.X, scaled["fpkm_unstranded"], rtol=1e-5)
    with pytest.raises(InputError, match="6 columns per sample"):
        read(path, column="rpkm")


def test_types_among_which_none_is_usual_are_asked_for(tmp_path: Path) -> None:
    names = [f"S{i}_{t}" for i in range(N) for t in ("TPM", "FPKM")]
    x = np.repeat(tpm(0, G, N), 2, axis=0)
    path = write(tmp_path / "m.tsv", x, names, SYMBOLS)
    with pytest.raises(InputError, match=r"2 columns per sample \(tpm, fpkm\).*`column: tpm`"):
        read(path)
    assert read(path, column="TPM")[0].n_obs == N


def test_samples_of_one_patient_are_no_value_types(tmp_path: Path) -> None:
    names = [f"{p}-{t}" for p in PATIENTS for t in ("01A", "11A")]
    adata, report = read(write(tmp_path / "m.tsv", counts(0, G, 2 * N), names, SYMBOLS))
    assert adata.n_obs == N and "column_types" not in report["reader"]
    cells = [f"{site}_{i:02d}" for site in ("north", "south") for i in range(N)]
    adata, report = read(write(tmp_path / "n.tsv", counts(0, G, 2 * N), cells, SYMBOLS))
    assert list(adata.obs_names) == cells


# ---------------------------------------------------------------------------------------- names that a spreadsheet made

SPOILT = [
    "1-Mar", "Mar-01", "2001-03-01 00:00:00", "2021-09-01", "44256", "44440", "44621.0", "Sep-02", "2-Sep", "2.31E+13",
    "1.00E+09", "9/2/2021", "01.03.2021", "1. Mrz", "1-mars", "02-sept", "1-Dez", "3月1日", "1-Mär", "Dec-01",
    "2001/3/1", "2.31e+13", "43891", "March 1, 2021", "2021-03-01T00:00:00",
]  # fmt: skip


@pytest.mark.fault(
    stage="expression",
    fault="gene names that became dates or numbers in every form a spreadsheet writes, among symbols or Ensembl ids",
    sees="how many, which, and what they may have been; two genes under one date are left out",
    survives="the other genes; no name is guessed back",
)
@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(SPOILT), at=st.integers(0, G - 1), ensembl=st.booleans())
def test_every_form_is_flagged(name: str, at: int, ensembl: bool) -> None:
    genes = [f"ENSG{i:011d}" for i in range(G)] if ensembl else list(SYMBOLS)
    genes[at] = name
    out, report = canonical_genes(pd.DataFrame({"id": genes}))
    flagged = [*report["names_made_into_dates"], *report["names_made_into_numbers"]]
    assert flagged == [name] and out["id"].iloc[at] == name


REAL = ["TP53", "7SK", "5S_rRNA", "C1orf112", "AC012345.1", "MARCHF1", "SEPTIN2", "DEC1", "HLA-A", "H2AC4", "1.5-kb",
        "RP11-34P13.7", "Y_RNA", "MAR1", "OCT4", "NKX2-1", "U6", "hsa-mir-21", "entrez:1234", "T", "AUG1"]  # fmt: skip


def test_real_names_and_entrez_ids_are_not_flagged() -> None:
    report = canonical_genes(pd.DataFrame({"id": REAL}))[1]
    assert report["n_names_made_into_dates"] == report["n_names_made_into_numbers"] == 0
    entrez = canonical_genes(pd.DataFrame({"id": [str(i) for i in range(40_000, 46_000)]}))[1]
    assert entrez["n_names_made_into_numbers"] == entrez["n_names_made_into_dates"] == 0


@pytest.mark.parametrize(
    ("name", "origin"),
    [("1-Mar", "MARCHF1 or MTARC1"), ("44256", "MARCHF1 or MTARC1"), ("44440", "SEPTIN1"), ("Sep-02", "SEPTIN2"),
     ("2001-03-01 00:00:00", "MARCHF1 or MTARC1"), ("1-Dez", "DELEC1"), ("Dec-01", "DELEC1"), ("Jul-04", "unknown")],
)  # fmt: skip
def test_origins(name: str, origin: str) -> None:
    assert date_origin(name) == origin


def test_two_genes_under_one_date_are_left_out(tmp_path: Path) -> None:
    genes = list(SYMBOLS)
    genes[3] = genes[9] = "1-Mar"
    adata, report = read(write(tmp_path / "m.tsv", counts(), PATIENTS, genes))
    assert adata.n_vars == G - 2 and "1-Mar" not in adata.var_names
    assert "2 rows left out: several genes became one date" in said(report)


# -------------------------------------------------------------------------------------- exports, bombs and random lies


@pytest.mark.parametrize("name", ["#NAME?", "#REF!", "TRUE", "#WERT!"])
def test_errors_of_a_spreadsheet_among_the_genes(tmp_path: Path, name: str) -> None:
    genes = [name if i == 40 else gene for i, gene in enumerate(SYMBOLS)]
    _, report = read(write(tmp_path / "m.tsv", counts(), PATIENTS, genes))
    assert f"1 gene names are a spreadsheet's errors or truth values ({name})" in said(report)
    assert "truth values" not in said(read(write(tmp_path / "m.tsv", counts(), PATIENTS, SYMBOLS))[1])


@pytest.mark.parametrize("whole", [100.0, 1000.0])
def test_shares_are_no_logarithms(tmp_path: Path, whole: float) -> None:
    genes = [f"{chr(65 + i * 26 // 2000)}QX{i}" for i in range(2000)]
    people = [f"TCGA-ZZ-A{i:03d}" for i in range(30)]
    _, report = read(write(tmp_path / "m.tsv", tpm() / 1e6 * whole, people, genes))
    assert report["values"]["kind"] not in ("log2", "log1p") or f"every sample adds up to {whole:g}" in said(report)
    _, report = read(write(tmp_path / "m.tsv", np.log2(tpm() + 1), people, genes))
    assert report["values"]["kind"] == "log2" and "adds up" not in said(report)
