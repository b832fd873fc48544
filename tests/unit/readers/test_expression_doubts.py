"""Matrices that read well and are something else: sums among genes, other data, other species, other logarithms."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.config.sources import ExpressionSource
from mirror.core.errors import InputError
from mirror.core.facts import Facts
from mirror.readers.expression.read import read_expression

N, G = 16, 300
RNG = np.random.default_rng(5)
IDS = [f"HX{i:03d}" for i in range(N)]
GENES = [f"GX{i}Q" for i in range(G)]
COUNTS = pd.DataFrame(RNG.poisson(RNG.lognormal(4, 1.5, (G, 1)) * RNG.lognormal(0, 0.3, (G, N))) + 1,
                      index=pd.Index(GENES, name="gene"), columns=IDS)  # fmt: skip
TPM = COUNTS / COUNTS.sum() * 1e6
LOGS = np.log2(TPM + 1)


def read(tmp_path, table: pd.DataFrame | str, name: str = "m.tsv", **source):
    path = tmp_path / name
    path.write_text(table if isinstance(table, str) else table.to_csv(sep="\t"))
    found = Facts(path)
    adata, report = read_expression(ExpressionSource(path=str(path), **source), found=found)
    return adata, report["values"]["kind"], [fact.text() for fact in found.warnings]


def names(template: str) -> pd.DataFrame:
    return COUNTS.set_axis(pd.Index([template.format(i) for i in range(G)], name="gene"))


@pytest.mark.parametrize(("table", "kind"), [(COUNTS, "counts"), (TPM, "tpm"), (LOGS, "log2")])
def test_the_matrix_itself_gives_no_warning(tmp_path, table, kind):
    _, found, said = read(tmp_path, table)
    assert (found, said) == (kind, [])


@pytest.mark.fault(
    stage="expression",
    fault="a row Total or a column mean among genes or samples; logarithms to base 10; 1,234 for 1234 beside 992; a "
    "GCT file with fewer rows than announced; a line cut in the middle; the header repeated",
    sees="which row, column, cell or line, and what it is",
    survives="nothing has run",
)
@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pd.concat([COUNTS, COUNTS.sum().to_frame("Total").T]), "'Total' is the sum of the other genes"),
        (pd.concat([LOGS, LOGS.mean().to_frame("average").T]), "'average' is the mean of the other genes"),
        (COUNTS.assign(mean=COUNTS.mean(axis=1)), "'mean' is the mean of the other samples"),
        (LOGS.assign(Median=LOGS.median(axis=1)), "'Median' is the median of the other samples"),
        (np.log10(TPM + 1), "logarithms to base 10"),
        (COUNTS.map(lambda v: f"{v:,}"), r"may be read as \d+\.\d{3} or as \d+"),
        (f"#1.2\n{G + 9}\t{N}\n" + COUNTS.to_csv(sep="\t"), "announces 309 rows and holds 300: it is cut"),
        (COUNTS.to_csv(sep="\t")[:-20], rf"line {G + 1}.*fields where the header has {N + 1}.*cut"),
        (COUNTS.to_csv(sep="\t") * 2, rf"line {G + 2}.*'HX000' is not a number.*header is repeated"),
        (COUNTS.astype(object).mask(COUNTS.iloc[77, 3] == COUNTS, "<5"), "column .*'<5'.* is not a number"),
    ],
)  # fmt: skip
def test_refused_by_name(tmp_path, table, words):
    with pytest.raises(InputError) as error:
        read(tmp_path, table, orientation="genes_by_samples")
    assert re.search(words, str(error.value)), str(error.value)
    assert "CSV" not in str(error.value) and "\n" not in str(error.value)


def test_a_gene_called_total_that_is_none_stays(tmp_path):
    adata, _, said = read(tmp_path, COUNTS.rename(index={"GX7Q": "TOTAL"}))
    assert "TOTAL" in adata.var_names and not said


@pytest.mark.fault(
    stage="expression",
    fault="a matrix of other data or names: one sample constant, standardised by sample, centred logarithms, ranks, "
    "copy-number calls, two kinds of identifiers, the mouse, transcripts",
    sees="a warning that says what it looks like",
    survives="the matrix is read",
)
@pytest.mark.parametrize(
    ("table", "words"),
    [
        (COUNTS.assign(HX003=0), "1 samples hold one value for all genes \\(HX003\\)"),
        ((LOGS - LOGS.mean()) / LOGS.std(), "standardised by sample, not by gene"),
        (LOGS.sub(LOGS.mean(axis=1), axis=0), "standard deviation is 0.[345]"),
        (COUNTS.rank(pct=True), "between 0 and 1: ranks, shares or methylation"),
        (COUNTS * 0 + RNG.integers(-2, 3, COUNTS.shape), "only 5 different values"),
        (COUNTS * 0 + RNG.integers(0, 2, COUNTS.shape), "only 2 different values \\(0, 1\\)"),
        (COUNTS.set_axis(pd.Index([f"ENSG{i:011d}" if i % 3 else GENES[i] for i in range(G)], name="gene")),
         "200 genes have Ensembl identifiers and 100 other names"),
        (names("ENSMUSG{:011d}"), "300 genes are not human \\(Ensembl identifiers of MUS\\)"),
        (names("Abc{}a"), "written as those of the mouse"),
        (names("ENST{:011d}"), "300 rows are transcripts, not genes"),
    ],
)  # fmt: skip
def test_said(tmp_path, table, words):
    _, _, said = read(tmp_path, table)
    assert any(re.search(words, line) for line in said), said


LIES = ("log10", "total", "mean", "thousands", "cut", "header", "two_scales", "unscaled", "doubled", "renamed",
        "by_sample", "comma", "order", "tail", "shares", "duplicate", "mark")  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lie=st.sampled_from(LIES), seed=st.integers(0, 2**16))
def test_a_lie_is_named_or_changes_nothing(tmp_path, lie, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(G)
    counts = COUNTS.iloc[order]
    tpm = counts / counts.sum() * 1e6
    at, sample = int(rng.integers(1, G)), int(rng.integers(0, N))
    text = counts.to_csv(sep="\t")
    lines = text.splitlines()
    base, lied = {
        "log10": lambda: (tpm, np.log10(tpm + 1)),
        "total": lambda: (counts, pd.concat([counts, counts.sum().to_frame("Sum").T])),
        "mean": lambda: (counts, counts.assign(Mean=counts.mean(axis=1))),
        "thousands": lambda: (counts, counts.map(lambda v: f"{v:,}")),
        "cut": lambda: (counts, text[: len(text) * at // G].rstrip("\n")),
        "header": lambda: (counts, "\n".join([*lines[:at], lines[0], *lines[at:]]) + "\n"),
        "two_scales": lambda: (counts, pd.concat([np.log2(counts.iloc[:, :8] + 1), counts.iloc[:, 8:]], axis=1)),
        "unscaled": lambda: (tpm, tpm / 1e6),
        "doubled": lambda: (counts, pd.concat([counts, counts.iloc[[at]]])),
        "renamed": lambda: (counts, counts.rename(columns={IDS[sample]: IDS[sample - 1]})),
        "by_sample": lambda: (np.log2(tpm + 1), np.log2(tpm + 1).pipe(lambda x: (x - x.mean()) / x.std())),
        "comma": lambda: (tpm, tpm.round(2).to_csv(sep=";", decimal=",")),
        "order": lambda: (counts, counts.sample(frac=1, random_state=at)),
        "tail": lambda: (counts, "\n".join(line + "\t\t" for line in lines) + "\n"),
        "shares": lambda: (counts, counts.rank(pct=True)),
        "duplicate": lambda: (counts, counts.rename(index={counts.index[at]: counts.index[at - 1]})),
        "mark": lambda: (counts, text.replace(f"\n{counts.index[at]}\t", f"\n\ufeff{counts.index[at]}\t")),
    }[lie]()
    honest, kind, quiet = read(tmp_path, base, "honest.tsv")
    assert not quiet, quiet
    try:
        found, kind_of_lie, said = read(tmp_path, lied, "lied.tsv")
    except InputError as error:
        assert "\n" not in str(error) and "lied.tsv" in str(error)
        return
    same = kind == kind_of_lie and set(found.var_names) == set(honest.var_names) and found.shape == honest.shape
    if same:
        there = found[honest.obs_names, honest.var_names].X
        same = np.allclose(np.asarray(there), np.asarray(honest.X), rtol=1e-3, atol=0.01)
    assert same or said, f"{lie} changed the result without a word"
