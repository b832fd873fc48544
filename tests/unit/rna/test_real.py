"""Real TCGA expression: the linear baselines of the data page, and scikit-learn's elimination."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_selection import RFECV
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

from mirror.config.rna import RnaSettings, SelectionSettings
from mirror.rna.normalize import normalize
from mirror.rna.rfecv.eliminate import rfecv
from mirror.rna.selection import select_genes
from mirror.rna.transform import fit_transform

pytestmark = pytest.mark.data
LABELS = ("IDC", "ILC", "COAD", "READ")


def porpoise(folder: Path, cohort: str) -> tuple[ad.AnnData, pd.Series]:
    """z-scores of the ``*_rnaseq`` columns and the labels, one row per patient."""
    table = pd.read_csv(folder / "rna" / f"tcga_{cohort}_all_clean.csv.zip", low_memory=False)
    table = table.drop_duplicates("case_id").set_index("case_id")
    x = table.filter(regex="_rnaseq$").astype(np.float32)
    adata = ad.AnnData(
        x.to_numpy(),
        obs=pd.DataFrame(index=x.index.astype(str)),
        var=pd.DataFrame(index=x.columns.str.removesuffix("_rnaseq")),
    )
    adata.uns["mirror"] = json.dumps({"values": {"kind": "zscore"}})
    labels = table["oncotree_code"].where(table["oncotree_code"].isin(LABELS))
    return normalize(adata, RnaSettings()), labels


def published(folder: Path, cohort: str, fold: int, known: pd.Index) -> tuple[list[str], list[str]]:
    table = pd.read_csv(folder / "splits" / f"tcga_{cohort}" / f"splits_{fold}.csv")
    return tuple([p for p in table[side].dropna() if p in known] for side in ("train", "val"))


@pytest.mark.parametrize(("cohort", "accuracy", "auroc"), [("brca", 0.877, 0.905), ("coadread", 0.734, 0.759)])
def test_the_transform_gives_the_linear_baseline(test_data: Path, cohort: str, accuracy: float, auroc: float) -> None:
    adata, labels = porpoise(test_data, cohort)
    known = labels.dropna().index
    hits, areas = [], []
    for fold in range(5):
        train, test = published(test_data, cohort, fold, known)
        fitted = fit_transform(adata, train, list(adata.var_names), RnaSettings())
        model = LogisticRegression(C=0.001, max_iter=2000).fit(fitted.apply(adata, train), labels[train])
        x = fitted.apply(adata, test)
        hits.append((model.predict(x) == labels[test]).mean())
        areas.append(roc_auc_score(labels[test] == model.classes_[1], model.predict_proba(x)[:, 1]))
    assert np.mean(hits) == pytest.approx(accuracy, abs=0.01)
    assert np.mean(areas) == pytest.approx(auroc, abs=0.01)


def test_elimination_is_scikit_learns_on_real_breast_cancers(test_data: Path) -> None:
    adata, labels = porpoise(test_data, "brca")
    train, _ = published(test_data, "brca", 0, labels.dropna().index)
    train = sorted(train)[:160]
    genes = list(adata.var_names[:400])
    x = fit_transform(adata, train, genes, RnaSettings()).apply(adata, train)
    y = labels[train].to_numpy()
    ours = rfecv(x, y, StratifiedKFold(5).split(x, y))
    tight = LinearSVC(random_state=0, tol=1e-8, max_iter=1_000_000)
    theirs = RFECV(tight, step=0.05, cv=5).fit(x.astype(np.float64), y)
    np.testing.assert_array_equal(ours.support, theirs.support_)
    np.testing.assert_array_equal(ours.ranking, theirs.ranking_)


def test_selection_inside_a_real_fold(test_data: Path) -> None:
    adata, labels = porpoise(test_data, "brca")
    train, test = published(test_data, "brca", 0, labels.dropna().index)
    settings = RnaSettings(selection=SelectionSettings(method="rfecv"))
    chosen = select_genes(adata, labels, train, settings, 0)
    assert 0 < len(chosen.genes) <= adata.n_vars and not set(chosen.patients) & set(test)
    assert "CDH1" in chosen.genes  # the gene whose loss defines lobular carcinoma
    assert chosen.curve["accuracy"].max() > 0.85
