"""Per-sample transforms: what they do, and that they look at one sample at a time."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from mirror.config.rna import RnaSettings
from mirror.core.errors import InputError
from mirror.rna.normalize import normalize, plan, sample_ranks


def expression(x: np.ndarray, values: str | dict) -> ad.AnnData:
    obs = pd.DataFrame(index=[f"P{i:03d}" for i in range(x.shape[0])])
    var = pd.DataFrame(index=[f"G{i:03d}" for i in range(x.shape[1])])
    adata = ad.AnnData(np.asarray(x, dtype=np.float32), obs=obs, var=var)
    adata.uns["mirror"] = json.dumps({"values": values, "format": "matrix"})
    return adata


def test_counts_become_log1p_of_the_library_share() -> None:
    counts = np.array([[1, 3, 0], [20, 0, 60]])
    out = normalize(expression(counts, "counts"), RnaSettings(target_sum=100))
    np.testing.assert_allclose(out.X, np.log1p(counts / counts.sum(1, keepdims=True) * 100), rtol=1e-6)
    np.testing.assert_array_equal(out.layers["read"], counts)
    note = json.loads(out.uns["mirror"])
    assert note["normalized"]["method"] == "log1p_cpm" and note["format"] == "matrix"
    assert out.X.dtype == np.float32 and list(out.obs_names) == ["P000", "P001"]


@pytest.mark.parametrize("values", ["tpm", "fpkm"])
def test_tpm_and_fpkm_keep_their_library_size(values: str) -> None:
    x = np.array([[1.0, 3.0], [0.5, 0.0]])
    np.testing.assert_allclose(normalize(expression(x, {"kind": values}), RnaSettings()).X, np.log1p(x), rtol=1e-6)


@pytest.mark.parametrize("values", ["log2", "log1p", "zscore"])
def test_logs_and_z_scores_stay_as_read(values: str) -> None:
    x = np.array([[-1.0, 36893.0], [0.5, np.nan]])
    adata = expression(x, values)
    np.testing.assert_array_equal(normalize(adata, RnaSettings()).X, x.astype(np.float32))


def test_a_sample_does_not_depend_on_the_others() -> None:
    counts = np.random.default_rng(0).poisson(4, (6, 30))
    for batch in ("none", "rank"):
        settings = RnaSettings(batch=batch)
        together = normalize(expression(counts, "counts"), settings).X
        alone = normalize(expression(counts[2:3], "counts"), settings).X
        np.testing.assert_array_equal(together[2:3], alone)


def test_a_missing_count_stays_missing_and_does_not_count() -> None:
    out = normalize(expression(np.array([[np.nan, 1.0, 3.0]]), "counts"), RnaSettings(target_sum=4))
    assert np.isnan(out.X[0, 0])
    np.testing.assert_allclose(out.X[0, 1:], np.log1p([1, 3]), rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "wanted"), [("log2", "log1p"), ("zscore", "log1p"), ("log1p", "log1p_cpm"), ("tpm", "log1p_cpm")]
)
def test_contradictions_are_errors(values: str, wanted: str) -> None:
    with pytest.raises(InputError, match="; "):
        plan(values, RnaSettings(normalize=wanted))


def test_impossible_values_are_errors() -> None:
    with pytest.raises(InputError, match="P001: negative expression"):
        normalize(expression(np.array([[1.0, 2], [-1, 2]]), "tpm"), RnaSettings())
    with pytest.raises(InputError, match="every count is zero"):
        normalize(expression(np.array([[1.0, 2], [0, 0]]), "counts"), RnaSettings())
    with pytest.raises(InputError, match="infinite"):
        normalize(expression(np.array([[1.0, np.inf]]), "log2"), RnaSettings())
    unknown = expression(np.ones((1, 2)), "counts")
    unknown.uns["mirror"] = "{}"
    with pytest.raises(InputError, match="does not say what its values are"):
        normalize(unknown, RnaSettings())


def test_ranks_are_shares_of_the_measured_genes() -> None:
    ranks = sample_ranks(np.array([[5.0, 1.0, 1.0, np.nan]]))
    np.testing.assert_allclose(ranks, [[2.5 / 3, 1 / 3, 1 / 3, np.nan]], rtol=1e-6)
