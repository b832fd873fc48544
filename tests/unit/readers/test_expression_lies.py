"""Expression files that lie: each lie is named, or changes nothing."""

from __future__ import annotations

import gzip
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from expression_tables import PATIENTS, SYMBOLS, G, N, counts, read, said, tpm, write
from mirror.config.sources import ExpressionSource
from mirror.core.errors import InputError
from mirror.core.facts import Facts
from mirror.core.memory import set_job_memory
from mirror.readers.expression import read_expression
from mirror.readers.expression.genes import cut_after
from mirror.readers.expression.values import settle_kind
from mirror.readers.gene_lists import read_gmt

# ------------------------------------------------------------------------------------------------ what the values are


@pytest.mark.fault(
    stage="expression",
    fault="TPM or FPKM with values just below zero (2^x - 0.001 undone), or logarithms with negative values",
    sees="TPM, with the number of values that were rounding and became 0; logarithms stay logarithms",
    survives="every value; nothing is clipped as a z-score",
)
@pytest.mark.parametrize(
    ("digits", "name"), [(4, "tpm.tsv"), (4, "zscores.tsv"), (3, "counts.tsv"), (2, "log2.tsv"), (1, "m.tsv")]
)
def test_rounding_below_zero_is_no_zscore_whatever_the_name(tmp_path: Path, digits: int, name: str) -> None:
    back = 2 ** np.round(np.log2(tpm() + 0.001), digits) - 0.001
    assert (back < 0).any()
    genes = [f"ENSG{i:011d}.{i % 9 + 1}" for i in range(back.shape[1])]
    adata, report = read(write(tmp_path / name, back, [f"TCGA-ZZ-B{i:03d}-01" for i in range(30)], genes))
    assert report["values"]["kind"] == "tpm" and adata.X.min() == 0
    assert report["values"]["negative"]["rounding"] == (back < 0).sum() and "are rounding, set to 0" in said(report)
    assert np.allclose(adata.X, np.maximum(back, 0), rtol=1e-5)


@pytest.mark.parametrize("named", [None, "zscore", "tpm", "counts"])
def test_logs_after_batch_correction_are_no_zscores(named: str | None) -> None:
    rng = np.random.default_rng(1)
    logs = np.log2(tpm() + 1) + rng.normal(0, 0.05, (30, 2000))
    assert logs.min() < -0.1 and logs.max() > 14 and np.median(np.abs(logs.mean(0))) < 0.5
    assert settle_kind(logs.astype(np.float32), "auto", None, "f", named)[0] == "log2"


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_large_negatives_in_tpm_are_refused_with_the_setting(share: float) -> None:
    x = tpm().astype(np.float32)
    rng = np.random.default_rng(2)
    low = rng.random(x.shape) < share
    x[low] -= rng.uniform(1, 300, low.sum()).astype(np.float32)
    with pytest.raises(InputError, match=r"cannot be negative.*set `negative` to missing or zero"):
        settle_kind(x.copy(), "auto", None, "f")
    kind, report = settle_kind(x, "auto", None, "f", negative="zero")
    assert kind in ("tpm", "fpkm") and report["negative"]["cells"] > 0 and x.min() == 0


def test_a_code_for_missing_is_named_as_such() -> None:
    x = counts().astype(np.float32)
    x[3, 4] = -999
    with pytest.raises(InputError, match=r"smallest -999.*a code such as -9 or -999 stands for a missing value"):
        settle_kind(x, "auto", None, "f")


@settings(max_examples=12, deadline=None)
@given(
    samples=st.integers(3, 60), genes=st.integers(60, 400), seed=st.integers(0, 99),
    outlier=st.sampled_from([0.0, 40.0, 36893.0]),
)  # fmt: skip
def test_zscores_are_still_zscores(samples: int, genes: int, seed: int, outlier: float) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1, (samples, genes))
    z = (z - z.mean(0)) / z.std(0) if samples >= 8 else z
    z[0, 0] += outlier if samples >= 8 else 0
    assert settle_kind(z.astype(np.float32), "auto", None, "f")[0] == "zscore"


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 99), kind=st.sampled_from(["counts", "tpm", "log2"]), named=st.sampled_from(
    ["counts", "tpm", "fpkm", "log2", "log1p", "zscore", None]))  # fmt: skip
def test_the_kind_does_not_follow_the_name(seed: int, kind: str, named: str | None) -> None:
    x = {"counts": counts(seed), "tpm": tpm(seed, 1500), "log2": np.log2(tpm(seed, 1500) + 0.001)}[kind]
    assert settle_kind(x.astype(np.float32), "auto", None, "f", named)[0] == kind


# ------------------------------------------------------------------------------------------------ files that were cut


def star(folder: Path, cut: float | None = None, which: int = 3, genes: int = 900, tail: int = 0) -> Path:
    """A GDC folder of STAR files, one of them cut between lines, or ``tail`` bytes short."""
    rng = np.random.default_rng(5)
    base = rng.lognormal(1, 2, genes)
    for i, patient in enumerate(PATIENTS[:6]):
        lines = ["# gene-model: GENCODE v36", "gene_id\tgene_name\tgene_type\tunstranded\ttpm_unstranded"]
        lines += [f"N_{k}\t\t\t{100 + i}\t" for k in ("unmapped", "multimapping", "noFeature", "ambiguous")]
        body = [f"ENSG{j:011d}.2\tG{j}\tprotein_coding\t{c}\t{c / 3:.4f}" for j, c in enumerate(rng.poisson(base))]
        if i == which and cut is not None:
            body = body[: int(cut * genes)]
        text = "\n".join([*lines, *body]) + "\n"
        if i == which and tail:
            text = text[:-tail]
        inner = folder / str(uuid.UUID(int=i + 1))
        inner.mkdir(parents=True)
        (inner / f"{patient}-01A.rna_seq.augmented_star_gene_counts.tsv").write_text(text)
    return folder


@pytest.mark.fault(
    stage="expression",
    fault="one of many STAR files broke off between two lines (at 55, 60, 90 %), or in the last line",
    sees="the file, how many genes it has and how many the others have",
    survives="the genes of everybody else: none is dropped",
)
@pytest.mark.parametrize(("cut", "which"), [(0.3, 3), (0.55, 0), (0.6, 3), (0.9, 5), (0.999, 3)])
def test_a_star_file_that_is_a_prefix_of_the_others(tmp_path: Path, cut: float, which: int) -> None:
    assert read(star(tmp_path / "whole"))[0].shape == (6, 900)
    with pytest.raises(
        InputError, match=rf"{PATIENTS[which]}.*{int(cut * 900)} genes where the others have 900.*broke off"
    ):
        read(star(tmp_path / "cut", cut, which))


@pytest.mark.parametrize("tail", [1, 2, 4])
def test_a_star_file_that_ends_in_a_line(tmp_path: Path, tail: int) -> None:
    with pytest.raises(InputError, match=rf"{PATIENTS[3]}.*(middle of a line|cannot be read)"):
        read(star(tmp_path / "s", tail=tail))


@pytest.mark.fault(
    stage="expression",
    fault="a text matrix that ends inside a number, without a line end, or at a letter before Z",
    sees="a warning that the file may be cut, and to compare its checksum",
    survives="what was read",
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.2, 0.95), packed=st.booleans())
def test_a_matrix_cut_anywhere_is_named(tmp_path_factory: pytest.TempPathFactory, share: float, packed: bool) -> None:
    """A cut inside a line has no line end or too few fields; one between lines ends the alphabet early."""
    folder = tmp_path_factory.mktemp("cut")
    whole = write(folder / "m.tsv", counts(), PATIENTS, SYMBOLS)
    assert not re.search("cut|missing", said(read(whole)[1]))
    text = whole.read_bytes()
    text = text[: int(share * len(text))]
    last = text.rsplit(b"\n", 1)[0].rsplit(b"\n", 1)[-1][:1]
    assume(not text.endswith(b"\n") or (last < b"T" and text.count(b"\n") > 110))
    path = folder / ("c.tsv.gz" if packed else "c.tsv")
    path.write_bytes(gzip.compress(text) if packed else text)
    try:
        report = read(path)[1]
    except InputError as error:
        assert "fields" in str(error) or "columns" in str(error) or "number" in str(error)
    else:
        assert "may be cut" in said(report) or "may be missing" in said(report)


def test_lists_that_end_early() -> None:
    assert cut_after(SYMBOLS) == "" and cut_after(SYMBOLS[::-1]) == "" and cut_after(SYMBOLS[:20]) == ""
    assert cut_after(SYMBOLS[:180]) == SYMBOLS[179]
    rng = np.random.default_rng(0)
    ids = [f"ENSG{i:011d}" for i in np.sort(rng.choice(288_000, 9000, replace=False))]
    assert cut_after(ids) == "" and cut_after(ids[:5000]) == ids[4999] and cut_after([*reversed(ids[:5000])]) == ""


# ------------------------------------------------------------------------------------------- several columns a sample


@pytest.mark.parametrize("sep", [";", "\t"])
@pytest.mark.parametrize("first", ["", "sep={sep}\r\n", '"sep={sep}"\r\n'])
@pytest.mark.parametrize("turned", [True, False])
def test_exports_with_a_sep_line_and_decimal_commas(tmp_path: Path, sep: str, first: str, turned: bool) -> None:
    x = counts() / 7
    table = pd.DataFrame(
        np.round(x, 3), index=pd.Index([p.lower() for p in PATIENTS], name="sample_id"), columns=SYMBOLS
    )
    table = table if turned else table.T.rename_axis("gene_name")
    text = table.to_csv(sep=sep, decimal=",", lineterminator="\r\n")
    (tmp_path / "e.csv").write_bytes(b"\xef\xbb\xbf" + (first.format(sep=sep) + text).encode())
    adata, _ = read(tmp_path / "e.csv")
    assert sorted(adata.obs_names) == PATIENTS and np.allclose(adata.X, np.round(x, 3), rtol=1e-6)


@pytest.mark.fault(
    stage="expression",
    fault="a small gzip that unpacks to one endless line, or to more rows or bytes than the job's memory holds",
    sees="that it has a line of more than so much, or holds more than the job's memory allows",
    survives="the machine: memory stays within the job's",
)
@pytest.mark.parametrize("what", ["line", "header", "rows", "star"])
def test_bombs_end_in_one_line(tmp_path: Path, what: str) -> None:
    path = tmp_path / ("b.augmented_star_gene_counts.tsv.gz" if what == "star" else "b.tsv.gz")
    head = b"gene_id\tgene_name\tgene_type\tunstranded\n" if what == "star" else b"gene\tTCGA-ZZ-A001-01\n"
    piece = {"line": b"0\t", "header": b"a\t", "rows": b"G\t1\n", "star": b"ENSG00000000001.1\tG\tp\t5\n"}[what]
    with gzip.open(path, "wb", 1) as file:
        file.write(b"" if what == "header" else head)
        for _ in range(24):
            file.write(piece * ((1 << 20) // len(piece)))
    assert path.stat().st_size < 1e6
    try:
        set_job_memory(100)
        with pytest.raises(InputError, match=r"has a line of more than|job's memory allows"):
            read(path)
    finally:
        set_job_memory(None)


def _rename(table: pd.DataFrame, i: int) -> pd.DataFrame:
    return table.rename(index={SYMBOLS[i]: "44256"})


def _row(value: Any) -> Callable[[pd.DataFrame, int], pd.DataFrame]:
    def change(table: pd.DataFrame, i: int) -> pd.DataFrame:
        table = table.astype(object)
        table.iloc[i] = value
        return table

    return change


LIES: dict[str, tuple[Callable[[pd.DataFrame, int], pd.DataFrame], str]] = {
    "a doubled row": (lambda t, i: pd.concat([t, t.iloc[[i]]]), "rows of repeated gene names merged"),
    "a name made into a number": (_rename, "turned into numbers"),
    "a word": (_row("high"), "high"),
    "a negative count": (_row(-5), "cannot be negative"),
    "a gap": (_row(np.nan), "missing values"),
    "a constant gene": (_row(7), "genes are constant"),
    "logarithms": (lambda t, i: np.log2(t + 1).round(4), "log2"),
    "another unit": (lambda t, i: t / t.sum() * 1e6, "tpm"),
    "a clinical column": (lambda t, i: t.assign(Age=50 + i), "not barcodes as the others' are (Age)"),
    "a doubled sample": (lambda t, i: t.assign(**{f"{PATIENTS[0]}-01B": t.iloc[:, 0] + 1}), "different values"),
}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lie=st.sampled_from(sorted(LIES)), i=st.integers(0, G - 1))
def test_one_lie_is_named(tmp_path_factory: pytest.TempPathFactory, lie: str, i: int) -> None:
    """A valid matrix with one random lie: an error, a warning or the facts name it."""
    folder = tmp_path_factory.mktemp("lie")
    table = pd.DataFrame(counts().T, index=pd.Index(SYMBOLS, name="gene_name"), columns=[f"{p}-01A" for p in PATIENTS])
    change, words = LIES[lie]
    change(table, i).to_csv(folder / "m.tsv", sep="\t", index_label="gene_name")
    facts = Facts(folder)
    try:
        read_expression(ExpressionSource(path=str(folder / "m.tsv")), found=facts)
        told = "\n".join(fact.text() for fact in facts)
    except InputError as error:
        told = str(error)
    assert words in told, told


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 99), turned=st.booleans(), sep=st.sampled_from([",", "\t", ";"]), packed=st.booleans())
def test_another_form_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, seed: int, turned: bool, sep: str, packed: bool
) -> None:
    folder, rng = tmp_path_factory.mktemp("form"), np.random.default_rng(seed)
    table = pd.DataFrame(counts(), index=pd.Index(PATIENTS, name="sample"), columns=SYMBOLS)
    table = table.iloc[rng.permutation(N)]
    table = table if turned else table.T.rename_axis("gene_name")
    path = folder / ("m.csv.gz" if packed else "m.csv")
    table.to_csv(path, sep=sep)
    adata, report = read(path)
    assert (counts() == adata[PATIENTS, SYMBOLS].X).all() and report["values"]["kind"] == "counts"
    assert not report["warnings"]


def test_genes_and_samples_that_are_formulas_are_shown_and_still_meet(tmp_path: Path) -> None:
    genes = list(SYMBOLS)
    genes[4], genes[7] = "=HYPERLINK(A1)", "@SUM\x07(1)"
    path = write(tmp_path / "m.tsv", counts(), ["=1+1", *PATIENTS[1:]], genes, "gene_id")
    adata, _ = read(path, orientation="genes_by_samples")
    assert list(adata.var_names[[4, 7]]) == ["'=HYPERLINK(A1)", "'@SUM\\x07(1)"]
    assert adata.obs["sample_id"].iloc[0] == "'=1+1" and (counts() == adata.X).all()
    (tmp_path / "s.gmt").write_text("SET\tabout\t" + "\t".join(genes[:9]) + "\n")
    assert set(read_gmt(tmp_path / "s.gmt")["SET"]) == set(adata.var_names[:9])
