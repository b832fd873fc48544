"""Each expression format by itself: GDC STAR counts, Xena, cBioPortal, PORPOISE, the reference's CSV."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mirror.config.sources import ExpressionSource
from mirror.core.errors import InputError
from mirror.readers.expression import read_expression

HEADER = ["gene_id", "gene_name", "gene_type", "unstranded", "stranded_first", "stranded_second", "tpm_unstranded",
          "fpkm_unstranded", "fpkm_uq_unstranded"]  # fmt: skip
GENES = [("ENSG00000000003.15", "TSPAN6"), ("ENSG00000000005.6", "TNMD"), ("ENSG00000182378.15_PAR_Y", "PLCXD1")]


def read(path, patients=None, **settings):
    """Read with settings."""
    return read_expression(ExpressionSource(path=str(path), **settings), patients)


def write_star(folder, file_id, name, values, genes=GENES):
    """Write one STAR-counts file in a folder named as its file id, as gdc-client does."""
    lines = ["# gene-model: GENCODE v36", "\t".join(HEADER)]
    for summary in ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous"):
        lines.append(f"{summary}\t\t\t999999\t999999\t999999\t\t\t")
    for (gene, symbol), value in zip(genes, values, strict=True):
        lines.append(f"{gene}\t{symbol}\tprotein_coding\t{value}\t0\t0\t{value / 7:.4f}\t{value / 9:.4f}\t0.1")
    path = folder / file_id / f"{name}.rna_seq.augmented_star_gene_counts.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def star(tmp_path):
    """Three samples of two patients, one of them normal, and the portal's sample sheet."""
    rows = ["File ID\tFile Name\tData Category\tData Type\tProject ID\tCase ID\tSample ID\tSample Type"]
    for file_id, name, sample, kind, values in (
        ("f1", "a", "TCGA-33-6737-01A", "Primary Tumor", [10, 0, 3]),
        ("f2", "b", "TCGA-33-6737-11A", "Solid Tissue Normal", [99, 9, 9]),
        ("f3", "c", "TCGA-18-3410-01A", "Primary Tumor", [4, 5, 6]),
    ):
        path = write_star(tmp_path / "counts", file_id, name, values)
        rows.append(f"{file_id}\t{path.name}\tx\ty\tTCGA-LUSC\t{sample[:12]}\t{sample}\t{kind}")
    (tmp_path / "counts" / "f1" / "annotations.txt").write_text("id\tsubmitter_id\n")
    (tmp_path / "gdc_sample_sheet.2026-01-01.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_star_counts_with_the_sample_sheet(star):
    """Nested files, the sheet beside them, N_ rows and the # line dropped, the normal excluded."""
    adata, report = read(star / "counts")
    assert report["format"] == "gdc_star" and report["reader"]["gene_models"] == {"GENCODE v36": 2}
    assert list(adata.obs_names) == ["TCGA-33-6737", "TCGA-18-3410"]
    assert list(adata.var_names) == ["ENSG00000000003", "ENSG00000000005", "ENSG00000182378_PAR_Y"]
    assert list(adata.var["symbol"]) == ["TSPAN6", "TNMD", "PLCXD1"]
    np.testing.assert_array_equal(adata.X, [[10, 0, 3], [4, 5, 6]])
    assert report["values"]["kind"] == "counts"
    assert report["samples"]["normals_excluded"] == {"11 Solid Tissue Normal": 1}


def test_star_counts_other_column_and_patients(star):
    """TPM may be read in place of counts; files of other patients are not opened."""
    (star / "counts" / "f1" / "a.rna_seq.augmented_star_gene_counts.tsv").write_text("broken")
    adata, report = read(star / "counts", ["TCGA-18-3410"], column="tpm_unstranded")
    assert report["values"]["kind"] == "tpm"
    np.testing.assert_allclose(adata.X, [[4 / 7, 5 / 7, 6 / 7]], atol=1e-4)
    with pytest.raises(InputError, match=r"no column 'tpm_unstrandet'.*nearest: tpm_unstranded"):
        read(star / "counts", ["TCGA-18-3410"], column="tpm_unstrandet")


def test_star_counts_that_broke_off(tmp_path):
    """One file with far fewer genes is a broken download, not a smaller gene set."""
    genes = [(f"ENSG{i:011d}.1", f"G{i}") for i in range(1200)]
    for number in range(3):
        write_star(tmp_path, f"f{number}", f"TCGA-AA-000{number}-01A", range(1200), genes)
    write_star(tmp_path, "f4", "TCGA-AA-0004-01A", range(400), genes[:400])
    with pytest.raises(InputError, match=r"TCGA-AA-0004.*400 genes where the others have 1200"):
        read(tmp_path)


def test_star_excerpts(test_data):
    """Real excerpts of two files whose gene lists differ: the missing rule decides, counted."""
    adata, report = read(test_data / "rawexpr")
    assert report["reader"]["files_with_other_genes"] == 1
    assert adata.to_df().loc["excerpt_A", "ENSG00000000003"] == 3231
    assert adata.n_vars == 3 and report["rules"]["missing"]["genes_dropped"] == 2
    kept, _ = read(test_data / "rawexpr", missing="median", column="fpkm_unstranded")
    assert kept.n_vars == 5 and np.isnan(kept.X).sum() == 2


def xena(n_genes=40, n=12, seed=0):
    """log2(TPM + 0.001) of transcripts, samples in columns, with its floor."""
    rng = np.random.default_rng(seed)
    tpm = rng.lognormal(1, 2, (n_genes, n)) * (rng.random((n_genes, n)) > 0.2)
    names = pd.Index([f"ENST{i:011d}.{i % 5}" for i in range(n_genes)], name="sample")
    return pd.DataFrame(np.log2(tpm + 0.001).round(4), index=names, columns=[f"TCGA-AA-{i:04d}-01" for i in range(n)])


@pytest.mark.parametrize("suffix", [".gz", ".parquet"])
def test_xena_with_probe_map(tmp_path, suffix):
    """Transcripts keep their ids without version; the probe map gives symbols; GTEx is left out."""
    table = xena()
    table["GTEX-S4Q7-0003-SM-3NM8M"] = 1.0
    path = tmp_path / f"tcga_RSEM_isoform_tpm{suffix}"
    table.to_csv(path, sep="\t", compression="gzip") if suffix == ".gz" else table.to_parquet(path)
    probes = "#id\tgene\tchrom\tchromStart\tchromEnd\tstrand\n"
    probes += "".join(f"{name.split('.')[0]}.9\tG{i}\tchr1\t1\t2\t+\n" for i, name in enumerate(table.index[:-1]))
    (tmp_path / "probe.map").write_text(probes)
    source = {"format": "xena", "probe_map": str(tmp_path / "probe.map")}
    adata, report = read(path, ["TCGA-AA-0003", "TCGA-AA-0001"], **source)
    assert adata.shape == (2, 40)
    assert report["values"]["kind"] == "log2"
    assert read(path, **source)[1]["values"]["offset"] == 0.001
    assert adata.var_names[3] == "ENST00000000003" and adata.var["symbol"].iloc[3] == "G3"
    assert report["reader"]["probe_map"]["unknown"] == 1
    assert report["samples"]["normals_excluded"] == {"GTEx": 1}
    np.testing.assert_allclose(adata.X, table.iloc[:, [1, 3]].T.to_numpy(np.float32))


def test_xena_is_recognised(tmp_path):
    """A first column named sample above genes and barcodes beside it is a Xena matrix."""
    xena().to_csv(tmp_path / "HiSeqV2.gz", sep="\t", compression="gzip")
    assert read(tmp_path / "HiSeqV2.gz")[1]["format"] == "xena"


def test_cbioportal(tmp_path):
    """Comment lines, Hugo and Entrez columns, rows without a symbol, a repeated gene."""
    path = tmp_path / "data_mrna_seq_v2_rsem.txt"
    path.write_text(
        "#version x\nHugo_Symbol\tEntrez_Gene_Id\tTCGA-AA-0001-01\tTCGA-AA-0002-01\n"
        "TP53\t7157\t512.5\t99.1\n\t100130426\t0\t1.5\nEGFR\t1956\t10.25\t20.5\nEGFR\t1956\t1\t2\nNA\t\t3\t3\n"
    )
    adata, report = read(path)
    assert report["format"] == "cbioportal" and report["values"]["kind"] == "counts"
    assert "not whole" in report["values"]["note"]
    assert list(adata.var_names) == ["TP53", "entrez:100130426", "EGFR"]
    np.testing.assert_allclose(adata.X, [[512.5, 0, 11.25], [99.1, 1.5, 22.5]], rtol=1e-6)
    assert adata.var.loc["TP53", "entrez"] == "7157"
    assert report["gene_duplicates"]["rows_without_a_name"] == 1


@pytest.mark.parametrize(
    ("cohort", "patients", "genes", "repeats"), [("brca", 956, 1558, 66), ("coadread", 340, 1550, 5)]
)
def test_porpoise_real(test_data, cohort, patients, genes, repeats):
    """The real PORPOISE tables: numbers as the data page has them, zip members with ./ names."""
    adata, report = read(test_data / "rna" / f"tcga_{cohort}_all_clean.csv.zip", extreme="keep")
    assert adata.shape == (patients, genes)
    assert report["format"] == "porpoise" and report["values"]["kind"] == "zscore"
    assert report["duplicates"]["equal_rows_merged"] == repeats
    assert report["duplicates"]["patients_with_different_samples"] == 0
    assert not any(name.endswith(("_rnaseq", "_cnv", "_mut")) for name in adata.var_names)
    if cohort == "brca":
        assert adata.X.max() == pytest.approx(36893.3066)
        assert adata.to_df().loc["TCGA-3C-AALI", "AAK1"] == pytest.approx(-0.267)
    clipped, _ = read(test_data / "rna" / f"tcga_{cohort}_all_clean.csv.zip")
    assert clipped.X.max() == 10


def test_xena_excerpt_real(test_data):
    """The real log2(TPM + 0.001) table: three patients twice with different values, VAMP7 constant."""
    path = test_data / "rna" / "xena_log2tpm_coadread.csv"
    adata, report = read(path)
    assert adata.shape == (317, 1577)
    assert report["duplicates"]["patients_with_different_samples"] == 3
    assert report["rules"]["constant"]["examples"] == ["VAMP7"]
    assert report["values"]["kind"] == "log2" and report["values"]["offset"] == 0.001
    raw = pd.read_csv(path, index_col=0)
    np.testing.assert_allclose(adata["TCGA-G4-6317"].X[0], raw.loc["TCGA-G4-6317"].iloc[0], rtol=1e-6)
    mean, _ = read(path, duplicates="mean")
    np.testing.assert_allclose(mean["TCGA-G4-6317"].X[0], raw.loc["TCGA-G4-6317"].mean(), rtol=1e-5, atol=1e-5)
    for form in ("reference", "xena", "matrix"):
        assert read(path, format=form)[0].shape == (317, 1577)


def test_reference_csv_needs_barcodes(tmp_path):
    """The reference's pruned CSV is indexed by barcodes; another table is refused."""
    pd.DataFrame({"A": [1, 2], "B": [3, 4]}, index=["x", "y"]).to_csv(tmp_path / "r.csv")
    with pytest.raises(InputError, match="no TCGA barcode"):
        read(tmp_path / "r.csv", format="reference")


READ_FEW = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from mirror.config.sources import ExpressionSource
from mirror.readers.expression import read_expression
few = [f"TCGA-AA-{i:04d}" for i in range(7, 2000, 100)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
adata, _ = read_expression(ExpressionSource(path=sys.argv[1]), few)
assert adata.shape == (20, 12000), adata.shape
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("suffix", [".tsv.gz", ".parquet"])
def test_large_matrices_are_read_in_bounded_memory(tmp_path, root, suffix):
    """20 of 2,000 columns of a matrix of 24 million cells cost far less than the matrix (96 MB as float32)."""
    path = tmp_path / f"large{suffix}"
    names = ["gene", *(f"TCGA-AA-{i:04d}-01" for i in range(2000))]
    row = (np.arange(2000) % 97 * 0.125).round(3)
    if suffix == ".parquet":
        frame = pd.DataFrame(np.tile(row.astype(np.float32)[:, None], (1, 12000)).T, columns=names[1:])
        frame.insert(0, "gene", [f"ENSG{i:011d}.1" for i in range(12000)])
        frame.to_parquet(path, row_group_size=2000)
    else:
        import gzip

        cells = "\t".join(map(str, row))
        with gzip.open(path, "wt", compresslevel=1) as handle:
            handle.write("\t".join(names) + "\n")
            for gene in range(12000):
                handle.write(f"ENSG{gene:011d}.1\t{cells}\n")
    done = subprocess.run(
        [sys.executable, "-c", READ_FEW, str(path), str(root / "workflow" / "scripts")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150 * 1024 * (1 if sys.platform == "linux" else 1024), f"{done.stdout} KB more"
