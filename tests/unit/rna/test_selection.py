"""Gene selection: inside the training patients, whatever the method, and honest about fallbacks."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import select_genes as script
from mirror.config.rna import RnaSettings, SelectionSettings
from mirror.core.errors import InputError
from mirror.rna.normalize import normalize
from mirror.rna.selection import GeneSet, select_genes
from mirror.rna.transform import Transform

INSIDE = ["rfecv", "hvg", "anova", "elastic_net", "all"]


def cohort(n: int = 60, genes: int = 80, seed: int = 0) -> tuple[ad.AnnData, pd.Series]:
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 3 == 0, "ILC", "IDC")
    rate = rng.gamma(2, 10, genes) * np.exp(0.3 * rng.normal(size=(n, genes)))
    rate[:, :6] *= np.where(y == "ILC", 3.0, 1.0)[:, None]
    names = [f"P{i:03d}" for i in range(n)]
    var = pd.DataFrame({"symbol": [f"SYM{i}" for i in range(genes)]}, index=[f"ENSG{i:05d}.3" for i in range(genes)])
    adata = ad.AnnData(rng.poisson(rate).astype(np.float32), obs=pd.DataFrame(index=names), var=var)
    adata.uns["mirror"] = json.dumps({"values": {"kind": "counts", "reason": "test"}})
    return adata, pd.Series(y, index=names)


def rna(method: str, **selection) -> RnaSettings:
    return RnaSettings(
        selection=SelectionSettings(method=method, **{"n_genes": 10, "inner_folds": 3, "min_genes": 1, **selection})
    )


def equal(a: GeneSet, b: GeneSet) -> bool:
    pd.testing.assert_frame_equal(a.table, b.table)
    return a == b


@pytest.mark.parametrize("method", INSIDE)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_test_patients_never_change_the_genes(method: str, seed: int) -> None:
    raw, labels = cohort()
    rng = np.random.default_rng(seed)
    train = [str(p) for p in rng.permutation(raw.obs_names)[:42]]
    other, other_labels = raw.copy(), labels.copy()
    outside = ~raw.obs_names.isin(train)
    other.X[outside] = rng.poisson(50, (outside.sum(), raw.n_vars))
    other_labels[outside] = rng.choice(["IDC", "ILC", "new"], outside.sum())
    chosen = select_genes(normalize(raw, rna(method)), labels, train, rna(method), 1)
    assert equal(chosen, select_genes(normalize(other, rna(method)), other_labels, train, rna(method), 1))
    assert set(chosen.patients) == set(train) and not chosen.leaks


@pytest.mark.parametrize("method", [*INSIDE, "published"])
def test_order_of_patients_does_not_matter_and_runs_repeat(method: str) -> None:
    raw, labels = cohort()
    adata = normalize(raw, rna(method))
    train = list(adata.obs_names[:45])
    order = np.random.default_rng(1).permutation(adata.n_obs)
    first = select_genes(adata, labels, train, rna(method), 7)
    second = select_genes(adata[order].copy(), labels.iloc[order[::-1]], train[::-1], rna(method), 7)
    assert equal(first, second)


@pytest.mark.parametrize("method", ["rfecv", "anova", "elastic_net"])
def test_planted_genes_are_found(method: str) -> None:
    raw, labels = cohort(90)
    adata = normalize(raw, rna(method))
    chosen = select_genes(adata, labels, adata.obs_names[:72], rna(method), 0)
    best = chosen.table.sort_values("score", ascending=False)["gene"].head(4)
    assert set(best) <= set(adata.var_names[:6])
    assert set(chosen.table["reason"]) == {method}


def test_published_leaks_and_says_so() -> None:
    raw, labels = cohort()
    adata = normalize(raw, rna("published"))
    chosen = select_genes(adata, labels, adata.obs_names[:30], rna("published"), 3)
    assert chosen.leaks and chosen.table["leaks"].all() and len(chosen.patients) == 48
    assert set(chosen.patients) - set(adata.obs_names[:30])


def test_list_is_united_and_reasons_are_told(tmp_path: Path) -> None:
    raw, labels = cohort()
    path = tmp_path / "genes.txt"
    path.write_text("# mine\nSYM0\nENSG00070\nNOT_MEASURED\n")
    adata = normalize(raw, rna("anova"))
    chosen = select_genes(adata, labels, adata.obs_names, rna("anova", gene_list=str(path), n_genes=5), 0)
    reasons = chosen.table.set_index("gene")["reason"]
    assert reasons["ENSG00000.3"] == "both" and reasons["ENSG00070.3"] == "list"
    assert (reasons == "anova").sum() == 4
    only = select_genes(adata, labels, adata.obs_names, rna("list", gene_list=str(path)), 0)
    assert only.genes == ["ENSG00000.3", "ENSG00070.3"]
    with pytest.raises(InputError, match="needs selection"):
        select_genes(adata, labels, adata.obs_names, rna("list"), 0)


@pytest.mark.parametrize("method", ["rfecv", "anova", "elastic_net"])
def test_too_few_labels_keep_all_genes_with_a_message(method: str) -> None:
    raw, labels = cohort()
    adata = normalize(raw, rna(method))
    for few in (pd.Series("IDC", index=labels.index), pd.Series(np.nan, index=labels.index, dtype=object)):
        chosen = select_genes(adata, few, adata.obs_names, rna(method), 0)
        assert len(chosen.genes) == adata.n_vars and set(chosen.table["reason"]) == {"all"}
        assert any("all genes kept" in message for message in chosen.messages)


def test_rare_labels_are_left_out_of_the_selection() -> None:
    raw, labels = cohort()
    labels.iloc[:2] = "RARE"
    adata = normalize(raw, rna("rfecv"))
    chosen = select_genes(adata, labels, adata.obs_names, rna("rfecv"), 0)
    assert any("RARE (2)" in message for message in chosen.messages)


def test_rarely_expressed_genes_are_no_candidates() -> None:
    raw, labels = cohort()
    raw.X[:, 9] = 0
    raw.X[50:, 9] = 5  # expressed outside the training patients only
    adata = normalize(raw, rna("all"))
    assert "ENSG00009.3" not in select_genes(adata, labels, adata.obs_names[:50], rna("all"), 0).genes
    assert "ENSG00009.3" in select_genes(adata, labels, adata.obs_names, rna("all"), 0).genes


def test_hvg_of_z_scores_is_refused() -> None:
    raw, labels = cohort()
    raw.uns["mirror"] = json.dumps({"values": "zscore"})
    with pytest.raises(InputError, match="z-scores"):
        select_genes(normalize(raw, rna("hvg")), labels, raw.obs_names, rna("hvg"), 0)


def test_script_writes_list_table_and_transform(tmp_path: Path) -> None:
    raw, labels = cohort()
    settings_ = rna("anova")
    normalize(raw, settings_).write_h5ad(tmp_path / "x.h5ad")
    clinical = pd.DataFrame({"patient_id": [*labels.index, "NO_RNA"], "label": [*labels, "IDC"]})
    clinical.loc[3, "label"] = ""
    clinical.to_csv(tmp_path / "patients.tsv", sep="\t", index=False)
    names = clinical["patient_id"]
    rows = [(p, 0, f, "test" if i % 3 == f else "train") for f in range(3) for i, p in enumerate(names)]
    splits = pd.DataFrame(rows, columns=["patient_id", "repeat", "fold", "set"])
    splits.to_csv(tmp_path / "splits.tsv", sep="\t", index=False)
    out = {name: tmp_path / f"{name}_r0f1" for name in ("genes", "table")}
    script.main(
        expression=tmp_path / "x.h5ad",
        splits=tmp_path / "splits.tsv",
        labels=tmp_path / "patients.tsv",
        **out,
        transform=tmp_path / "transform_r0f1.npz",
        fold="r0f1",
        settings=settings_.model_dump(mode="json"),
        seed=4,
    )
    genes = out["genes"].read_text().split()
    fitted = Transform.load(tmp_path / "transform_r0f1.npz")
    train = set(splits.query("fold == 1 and set == 'train'")["patient_id"]) - {"NO_RNA"}
    assert len(genes) == 10 and fitted.genes == tuple(genes)
    assert set(fitted.patients) == train == set(fitted.selected_with) and not fitted.leaks
    table = pd.read_csv(out["table"], sep="\t")
    assert table["gene"].tolist() == genes and table["rank"].max() == 10
    with pytest.raises(InputError, match="r0f7 has no training patient"):
        script.training_patients(tmp_path / "splits.tsv", "r0f7")
