"""Gene lists, pathway files and the stability of selections."""

from __future__ import annotations

import gzip
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from mirror.core.errors import InputError
from mirror.readers.gene_lists import read_gene_list, read_gmt
from mirror.rna.gene_lists import match_genes
from mirror.rna.stability import selection_stability

COSMIC = (
    "Gene Symbol,Name,Tier,Somatic,Tumour Types(Somatic),Synonyms\n"
    'CDH1,"cadherin 1, type 1",1,yes,"lobular breast, gastric","CDH1,ENSG00000039068"\n'
    'APC,adenomatous polyposis of the colon gene,1,yes,"colorectal, pancreatic",APC\n'
    "HLA-A,major histocompatibility complex,1,yes,melanoma,HLAA\n"
)


def write(folder: Path, text: str, name: str = "list.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_cosmic_both_layouts(tmp_path: Path) -> None:
    assert read_gene_list(write(tmp_path, COSMIC)) == ("CDH1", "APC", "HLA-A")
    assert read_gene_list(write(tmp_path, "\ufeff" + COSMIC), ["BREAST", "colorectal"]) == ("CDH1", "APC")
    newer = "GENE_SYMBOL\tNAME\tTUMOUR_TYPES_SOMATIC\nTP53\ttumour protein\tbreast; lung\nKRAS\tx\tcolorectal\n"
    assert read_gene_list(write(tmp_path, newer), ["breast"]) == ("TP53",)


def test_lists_may_be_compressed(tmp_path: Path) -> None:
    """COSMIC's newer downloads are gzipped TSV, with the line ends of any system."""
    for name in ("census.tsv.gz", "census.tsv"):
        (tmp_path / name).write_bytes(gzip.compress(COSMIC.replace("\n", "\r\n").encode()))
        assert read_gene_list(tmp_path / name) == ("CDH1", "APC", "HLA-A")


def test_plain_list_and_gmt(tmp_path: Path) -> None:
    assert read_gene_list(write(tmp_path, "Gene\nTP53\n\nHLA-A # why\nTP53\nAC012345.1\n")) == (
        "TP53",
        "HLA-A",
        "AC012345.1",
    )
    gmt = write(tmp_path, "A\turl\tG1\tG2\tG2\nB\turl\tG2\tG3\n")
    assert read_gene_list(gmt) == ("G1", "G2", "G3")
    assert read_gmt(gmt) == {"A": ("G1", "G2"), "B": ("G2", "G3")}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("# nothing\n", "no gene in the list"),
        ("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", "web page"),
        ("TP53, KRAS\n", "one gene per line"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_gene_list(write(tmp_path, text))


def test_what_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_gene_list(tmp_path / "absent.txt")
    with pytest.raises(InputError, match="needs COSMIC"):
        read_gene_list(write(tmp_path, "TP53\n"), ["breast"])
    with pytest.raises(InputError, match="given twice"):
        read_gmt(write(tmp_path, "A\tx\tG1\nA\tx\tG2\n"))
    (tmp_path / "binary").write_bytes(b"\x1f\x8b\x08\x00\xff\xfe")
    with pytest.raises(InputError, match="broken off"):
        read_gene_list(tmp_path / "binary")


def test_names_meet_identifiers_symbols_and_all_transcripts() -> None:
    var = pd.DataFrame({"symbol": ["TP53", "TP53", "HLA-A", np.nan]}, index=["ENST1.4", "ENST2.1", "HLA-A", "ENSG9.11"])
    adata = ad.AnnData(np.zeros((1, 4), dtype=np.float32), var=var)
    assert match_genes(adata, ["TP53"]).tolist() == [True, True, False, False]
    assert match_genes(adata, ["HLA-A", "ENSG9.7"]).tolist() == [False, False, True, True]
    assert not match_genes(adata, ["nan", "HLA"]).any()


def table(folder: Path, fold: int, reasons: dict[str, str]) -> Path:
    path = folder / f"genes_r0f{fold}.tsv"
    rows = [(g, r, np.nan if r == "list" else 1.0, 0.1, False) for g, r in reasons.items()]
    pd.DataFrame(rows, columns=["gene", "reason", "rank", "score", "leaks"]).to_csv(path, sep="\t", index=False)
    return path


def test_stability_counts_folds_and_the_lists_share(tmp_path: Path) -> None:
    folds = [
        {"A": "rfecv", "B": "both", "L": "list"},
        {"A": "rfecv", "B": "list", "L": "list"},
        {"A": "rfecv", "B": "list", "L": "list", "C": "rfecv"},
    ]
    found = selection_stability([table(tmp_path, k, fold) for k, fold in enumerate(folds)])
    assert found["gene"].tolist() == ["A", "B", "L", "C"]
    assert found["chosen"].tolist() == [3, 3, 3, 1] and found["by_method"].tolist() == [3, 1, 0, 1]
    assert found["in_list"].tolist() == [False, True, True, False]
    assert found.attrs["list_share"] == 0.25 and found.attrs["intersection"] == 3


def test_stability_index_is_one_for_equal_and_zero_for_random_choices(tmp_path: Path) -> None:
    same = [table(tmp_path, k, {"A": "rfecv", "NA": "rfecv"}) for k in range(4)]
    assert selection_stability(same, n_candidates=50).attrs["stability"] == pytest.approx(1)
    rng = np.random.default_rng(0)
    drawn = [table(tmp_path, k, {f"G{i}": "rfecv" for i in rng.choice(400, 40, replace=False)}) for k in range(20)]
    assert abs(selection_stability(drawn, n_candidates=400).attrs["stability"]) < 0.02
    with pytest.raises(InputError, match="no gene table"):
        selection_stability([])
