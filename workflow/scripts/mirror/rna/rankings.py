"""The ways to choose genes, one function each, behind one signature."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from ..config.rna import SelectionSettings
from .rfecv.eliminate import rfecv


@dataclass(frozen=True)
class Ranking:
    """What a method says of each candidate.

    Attributes
    ----------
    reason : str
        The method's name, as the gene table gives it.
    chosen : ndarray, bool (G,)
    rank : ndarray, float64 (G,)
        1 is best; NaN where the method ranks nothing.
    score : ndarray, float64 (G,)
        Larger is better; what it measures depends on the method.
    curve : DataFrame or None
        rfecv: ``n_genes``, ``accuracy``.
    """

    reason: str
    chosen: np.ndarray
    rank: np.ndarray
    score: np.ndarray
    curve: pd.DataFrame | None = None

    @classmethod
    def everything(cls, n: int) -> Ranking:
        """All ``n`` candidates, unranked."""
        return cls("all", np.ones(n, dtype=bool), np.full(n, np.nan), np.full(n, np.nan))

    @classmethod
    def best(cls, reason: str, score: np.ndarray, n: int, positive: bool = False) -> Ranking:
        """The ``n`` highest scores (ties: the earlier gene); NaN is worst; ``positive`` asks for a score above 0."""
        score = np.asarray(score, dtype=np.float64)
        order = np.argsort(-np.where(np.isnan(score), -np.inf, score), kind="stable")
        rank = np.empty(score.size)
        rank[order] = np.arange(1, score.size + 1)
        chosen = (rank <= n) & ~np.isnan(score)
        return cls(reason, chosen & (score > 0) if positive else chosen, rank, score)


def rank_hvg(
    x: np.ndarray, y: None, settings: SelectionSettings, seed: int, jobs: int | None, log2: bool = False
) -> Ranking:
    """Highly variable genes by normalised dispersion (scanpy, flavour of Seurat).

    ``x`` is float32 (n, G) on a log scale; ``log2`` values are brought to log1p first, which the
    method expects. Missing values count as the gene's median.
    """
    if np.isnan(x).any():
        x = np.where(np.isnan(x), np.nanmedian(x, axis=0), x)
    if log2:
        x = np.log1p(np.exp2(x))
    cells = ad.AnnData(np.ascontiguousarray(x, dtype=np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # constant genes divide by zero inside, and rank last
        sc.pp.highly_variable_genes(cells, n_top_genes=min(settings.n_genes, cells.n_vars), flavor="seurat")
    score = cells.var["dispersions_norm"].to_numpy(dtype=np.float64)
    return Ranking.best("hvg", score, settings.n_genes)


def rank_anova(x: np.ndarray, y: np.ndarray, settings: SelectionSettings, seed: int, jobs: int | None) -> Ranking:
    """One-way analysis of variance (F statistic, scikit-learn)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant genes: F is NaN, and they rank last
        score, _ = f_classif(x.astype(np.float64), y)
    return Ranking.best("anova", score, settings.n_genes)


def rank_elastic_net(x: np.ndarray, y: np.ndarray, settings: SelectionSettings, seed: int, jobs: int | None) -> Ranking:
    """Logistic regression with an elastic-net penalty; kept are non-zero genes, the largest first.

    Zou and Hastie, Regularization and variable selection via the elastic net, JRSS B 67, 2005.
    """
    model = LogisticRegression(
        l1_ratio=settings.l1_ratio, C=settings.C, solver="saga", max_iter=200, tol=1e-3, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the order of genes is settled long before the tolerance
        model.fit(x.astype(np.float64), y)
    return Ranking.best("elastic_net", np.abs(model.coef_).sum(axis=0), settings.n_genes, positive=True)


def rank_rfecv(x: np.ndarray, y: np.ndarray, settings: SelectionSettings, seed: int, jobs: int | None) -> Ranking:
    """Recursive elimination with a linear SVM, the published recipe (:mod:`mirror.rna.rfecv.eliminate`).

    The inner folds are stratified and shuffled by ``seed``: unshuffled, sorted barcodes would make
    them folds by hospital. Each inner fold centres the genes on its own training samples; the
    published way does not, and takes the expression as it is.
    """
    folds = StratifiedKFold(settings.inner_folds, shuffle=True, random_state=seed)
    found = rfecv(
        x,
        y,
        folds.split(np.empty((len(y), 0)), y),
        step=settings.step,
        C=settings.C,
        min_features=settings.min_genes,
        center=settings.method == "rfecv",
        jobs=jobs,
    )
    curve = pd.DataFrame({"n_genes": found.n_features, "accuracy": found.scores.mean(axis=0)})
    return Ranking(settings.method, found.support, found.ranking.astype(np.float64), found.importance, curve)


RANKERS: dict[str, Callable[..., Ranking]] = {
    "rfecv": rank_rfecv,
    "published": rank_rfecv,
    "hvg": rank_hvg,
    "anova": rank_anova,
    "elastic_net": rank_elastic_net,
}
