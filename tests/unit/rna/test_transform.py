"""Fitted transforms: training patients only, reproducible, and right."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.config.rna import RnaSettings
from mirror.core.errors import InputError
from mirror.rna.transform import Transform, fit_transform

BATCHES = ["none", "quantile", "combat"]


def cohort(n: int = 24, genes: int = 40, seed: int = 0, values: str = "log1p") -> ad.AnnData:
    rng = np.random.default_rng(seed)
    names = [f"P{i:03d}" for i in range(n)]
    obs = pd.DataFrame({"cohort": ["A", "B"] * (n // 2)}, index=names)
    x = rng.normal(5, 2, (n, genes)) + (np.arange(n) % 2)[:, None] * rng.normal(0, 1, genes)
    adata = ad.AnnData(x.astype(np.float32), obs=obs, var=pd.DataFrame(index=[f"G{i:03d}" for i in range(genes)]))
    adata.uns["mirror"] = json.dumps({"values": values})
    return adata


@pytest.fixture
def gmt(tmp_path: Path) -> str:
    path = tmp_path / "sets.gmt"
    sets = [
        "ONE\tna\t" + "\t".join(f"G{i:03d}" for i in range(10)),
        "TWO\tna\t" + "\t".join(f"G{i:03d}" for i in range(6, 30)),
    ]
    path.write_text("\n".join([*sets, "SMALL\tna\tG001\tG002"]) + "\n")
    return str(path)


def same(a: Transform, b: Transform, folder: Path) -> bool:
    a.save(folder / "a.npz")
    b.save(folder / "b.npz")
    return (folder / "a.npz").read_bytes() == (folder / "b.npz").read_bytes()


def test_training_values_are_standardised_and_clipped() -> None:
    adata = cohort()
    adata.X[20] = 1000
    train = list(adata.obs_names[:20])
    out = fit_transform(adata, train, ["G003", "G001"], RnaSettings(clip=3)).apply(adata)
    raw = adata.X[:20, [3, 1]].astype(np.float64)
    expected = np.clip((raw - raw.mean(0)) / raw.std(0), -3, 3)
    np.testing.assert_allclose(out[:20], expected, atol=1e-5)
    assert out.dtype == np.float32 and out[20].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("batch", BATCHES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.0, 1.0, 1e4, np.nan]))
def test_test_patients_never_change_the_fit(batch: str, seed: int, scale: float, tmp_path_factory) -> None:
    adata = cohort()
    rng = np.random.default_rng(seed)
    train = [str(p) for p in rng.permutation(adata.obs_names)[:16]]
    rna = RnaSettings(batch=batch)
    fitted = fit_transform(adata, train, list(adata.var_names[:9]), rna)
    other = adata.copy()
    outside = ~other.obs_names.isin(train)
    other.X[outside] = rng.normal(0, 1, (outside.sum(), other.n_vars)) * scale
    refitted = fit_transform(other, train, list(adata.var_names[:9]), rna)
    assert same(fitted, refitted, tmp_path_factory.mktemp("fit"))
    np.testing.assert_array_equal(fitted.apply(adata, train), refitted.apply(other, train))


@pytest.mark.parametrize("batch", BATCHES)
def test_order_of_patients_and_genes_does_not_matter(batch: str, gmt: str, tmp_path: Path) -> None:
    adata = cohort()
    train = list(adata.obs_names[:16])
    rna = RnaSettings(batch=batch, pathways=gmt)
    fitted = fit_transform(adata, train, ["G007", "G002"], rna)
    rng = np.random.default_rng(3)
    rows, columns = rng.permutation(adata.n_obs), rng.permutation(adata.n_vars)
    shuffled = adata[rows].copy()
    assert same(fitted, fit_transform(shuffled, train[::-1], ["G007", "G002"], rna), tmp_path)
    other = adata[rows][:, columns].copy()
    np.testing.assert_allclose(fitted.apply(other, list(adata.obs_names)), fitted.apply(adata), atol=2e-6)


@pytest.mark.parametrize("batch", [*BATCHES, "rank"])
def test_save_and_load_keep_everything(batch: str, gmt: str, tmp_path: Path) -> None:
    adata = cohort()
    adata.X[2, 4] = np.nan
    fitted = fit_transform(adata, adata.obs_names[:16], ["G001", "G004"], RnaSettings(batch=batch, pathways=gmt))
    fitted = fitted.with_selection(["P001", "P000"], leaks=True)
    fitted.save(tmp_path / "transform_r0f0.npz")
    loaded = Transform.load(tmp_path / "transform_r0f0.npz")
    assert same(fitted, loaded, tmp_path)
    assert loaded.genes == ("G001", "G004", "pathway:ONE", "pathway:TWO")
    assert loaded.selected_with == ("P001", "P000") and loaded.leaks
    np.testing.assert_array_equal(fitted.apply(adata), loaded.apply(adata))


def test_an_outlier_among_z_scores_does_not_own_the_gene() -> None:
    adata = cohort(values="zscore")
    adata.X = (adata.X - adata.X.mean(0)) / adata.X.std(0)
    clean = fit_transform(adata, adata.obs_names[:20], ["G000"], RnaSettings()).apply(adata)
    adata.X[3, 0] = 36893
    spoilt = fit_transform(adata, adata.obs_names[:20], ["G000"], RnaSettings()).apply(adata)
    assert spoilt.max() <= 5
    others = np.arange(adata.n_obs) != 3
    assert np.corrcoef(clean[others, 0], spoilt[others, 0])[0, 1] > 0.999
    assert spoilt[others, 0].std() > 0.5


def test_missing_values_take_the_training_median() -> None:
    adata = cohort()
    adata.X[[1, 22], 5] = np.nan
    train = list(adata.obs_names[:20])
    out = fit_transform(adata, train, ["G005"], RnaSettings(standardize=False)).apply(adata)
    median = np.nanmedian(adata.X[:20, 5])
    np.testing.assert_allclose(out[[1, 22], 0], median, rtol=1e-6)


def test_constant_genes_are_scaled_by_one_and_stated() -> None:
    adata = cohort()
    adata.X[:20, 2] = 4
    fitted = fit_transform(adata, adata.obs_names[:20], ["G001", "G002"], RnaSettings())
    assert fitted.constant.tolist() == [False, True] and fitted.scale[1] == 1
    assert np.abs(fitted.apply(adata, list(adata.obs_names[:20]))[:, 1]).max() == 0


def test_combat_is_scanpys_on_the_training_patients() -> None:
    adata = cohort(40, 60)
    plain = RnaSettings(batch="combat", standardize=False)
    ours = fit_transform(adata, adata.obs_names, list(adata.var_names), plain).apply(adata)
    theirs = sc.pp.combat(ad.AnnData(adata.X.astype(np.float64), obs=adata.obs.copy()), key="cohort", inplace=False)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    gap = np.abs(ours[::2].mean(0) - ours[1::2].mean(0)).mean()
    assert gap < 0.5 * np.abs(adata.X[::2].mean(0) - adata.X[1::2].mean(0)).mean()


def test_quantiles_follow_the_training_reference() -> None:
    adata = cohort()
    adata.X[20:] = adata.X[20:] * 7 + 3
    genes = list(adata.var_names)
    plain = RnaSettings(batch="quantile", standardize=False)
    out = fit_transform(adata, adata.obs_names[:20], genes, plain).apply(adata)
    reference = np.sort(adata.X[:20], axis=1).mean(axis=0)
    np.testing.assert_allclose(np.sort(out, axis=1), np.tile(reference, (24, 1)), rtol=1e-5)


def test_pathways_are_mean_z_scores_of_their_members(gmt: str) -> None:
    adata = cohort()
    train = list(adata.obs_names[:18])
    out = fit_transform(adata, train, ["G020"], RnaSettings(pathways=gmt)).apply(adata)
    x = adata.X.astype(np.float64)
    z = np.clip((x - x[:18].mean(0)) / x[:18].std(0), -5, 5)
    score = z[:, :10].mean(1)
    np.testing.assert_allclose(out[:, 1], (score - score[:18].mean()) / score[:18].std(), atol=1e-4)


def test_what_cannot_be_used_is_one_clear_error(tmp_path: Path) -> None:
    adata = cohort()
    rna = RnaSettings()
    fitted = fit_transform(adata, adata.obs_names[:10], ["G001"], rna)
    with pytest.raises(InputError, match="1 of 2 patients have no expression, the first is X"):
        fitted.apply(adata, ["P001", "X"])
    with pytest.raises(InputError, match="genes are not in the expression"):
        fitted.apply(adata[:, ["G002"]].copy())
    with pytest.raises(InputError, match="none of the 1 training patients"):
        fit_transform(adata, ["X"], ["G001"], rna)
    adata.obs["cohort"] = ["A"] * 20 + ["C"] * 4
    with pytest.raises(InputError, match="no training patient belongs to batch 'C'"):
        fit_transform(adata, adata.obs_names[:20], ["G001", "G002"], RnaSettings(batch="combat")).apply(adata)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(InputError, match="not a fitted transform"):
        Transform.load(tmp_path / "broken.npz")
    adata.X[:10, 1] = np.nan
    with pytest.raises(InputError, match="G001: the gene has no value in any training patient"):
        fit_transform(adata, adata.obs_names[:10], ["G001"], rna)
