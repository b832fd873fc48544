"""What the numbers are: detected, overridden, and refused when they contradict it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.config.sources import ExpressionSource
from mirror.core.errors import InputError
from mirror.readers.expression import read_expression
from mirror.readers.expression.values import contradictions, facts, settle_kind, two_scales

N, G = 24, 1500


def world(kind: str, seed: int = 0) -> np.ndarray:
    """Expression of a made-up transcriptome on one scale, float32 (samples, genes)."""
    rng = np.random.default_rng(seed)
    level = rng.lognormal(1, 2.2, G)
    mean = rng.lognormal(np.log(level), 0.4, (N, G)) * (rng.random((N, G)) > 0.1)
    tpm = mean / mean.sum(axis=1, keepdims=True) * 1e6
    log2 = np.log2(tpm + 0.001)
    made = {
        "counts": rng.poisson(tpm * 20),
        "tpm": tpm,
        "fpkm": tpm * rng.uniform(0.3, 0.6, (N, 1)),
        "log2 floor": log2,
        "log2": np.log2(tpm + 1),
        "log1p": np.log1p(tpm),
        "zscore": (log2 - log2.mean(0)) / log2.std(0),
        "log of log": np.log2(np.log2(tpm + 1) + 1),
    }
    return made[kind].astype(np.float32)


@pytest.mark.parametrize("kind", ["counts", "tpm", "fpkm", "log2 floor", "log2", "log1p", "zscore"])
@pytest.mark.parametrize("seed", [0, 1])
def test_kinds_are_told_apart(kind, seed):
    """Each scale is recognised without any hint."""
    found, report = settle_kind(world(kind, seed), "auto", None, "f")
    assert found == kind.split()[0]
    assert report["reason"]
    if "floor" in kind:
        assert report["offset"] == 0.001


@pytest.mark.parametrize(
    ("kind", "stated", "words"),
    [
        ("zscore", "counts", "cannot be negative"),
        ("log2 floor", "tpm", "cannot be negative"),
        ("log2", "counts", "logarithm would be taken twice"),
        ("log2", "tpm", "logarithm would be taken twice"),
        ("log1p", "fpkm", "logarithm would be taken twice"),
        ("counts", "log2", "no logarithm"),
        ("tpm", "log1p", "no logarithm"),
        ("log2 floor", "log1p", "cannot be negative"),
        ("log of log", "log2", "taken twice"),
        ("log of log", "auto", "taken twice"),
        ("tpm", "zscore", "have none"),
    ],
)
def test_contradictions_are_errors(kind, stated, words):
    """A stated kind that the numbers forbid is refused, and so is a logarithm of a logarithm."""
    with pytest.raises(InputError, match=words):
        settle_kind(world(kind), stated, None, "f")


def test_override_is_believed_where_possible():
    """FPKM and TPM of some genes look alike; the config decides, and RSEM counts need not be whole."""
    assert settle_kind(world("fpkm"), "tpm", None, "f")[0] == "tpm"
    kind, report = settle_kind(world("fpkm"), "counts", None, "f")
    assert kind == "counts" and "RSEM" in report["note"]


def test_names_do_not_overrule_numbers():
    """A file named tpm that holds logarithms is taken as logarithms, and the report says so."""
    kind, report = settle_kind(world("log2"), "auto", "tpm", "f")
    assert kind == "log2" and "name says tpm" in report["note"]


def test_negative_counts_error_names_the_remedy(tmp_path):
    """Some batch corrections leave a few negative RSEM values: refused, unless a rule is stated."""
    table = pd.DataFrame(world("counts")[:4, :60].T.astype(float), index=[f"G{i}" for i in range(60)])
    table.columns = [f"TCGA-AA-000{i}-01" for i in range(4)]
    table.iloc[3, 1] = -0.4
    path = tmp_path / "data_mrna_seq_v2_rsem.txt"
    table.rename_axis("Hugo_Symbol").to_csv(path, sep="\t")
    source = ExpressionSource(path=str(path))
    with pytest.raises(InputError, match=r"cannot be negative.*set `negative`"):
        read_expression(source)
    zero, report = read_expression(source.model_copy(update={"negative": "zero"}))
    assert zero.X[1, 3] == 0 and report["rules"]["negative"] == {"policy": "zero", "cells": 1}
    gap, _ = read_expression(source.model_copy(update={"negative": "missing", "missing": "median"}))
    assert np.isnan(gap.X[1, 3]) and np.isnan(gap.X).sum() == 1


def test_facts_survive_gaps():
    """Missing cells change no fact about the others."""
    values = world("zscore")
    values[::3, ::7] = np.nan
    found = facts(values)
    np.testing.assert_allclose(found.minimum, np.nanmin(values))
    np.testing.assert_allclose(found.maximum, np.nanmax(values))
    assert found.negative_share == pytest.approx((values < 0).sum() / np.isfinite(values).sum())
    assert contradictions(facts(np.full((3, 2), np.nan, np.float32)), "tpm")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 50), st.booleans())
def test_any_numbers_are_judged(seed, scale, whole):
    """Whatever the numbers, the verdict is one of the kinds, or an InputError."""
    values = (np.random.default_rng(seed).standard_normal((9, 30)) * scale).astype(np.float32)
    values = np.round(values) if whole else values
    try:
        kind, _ = settle_kind(values, "auto", None, "f")
    except InputError as error:
        assert "values are taken as" in str(error)
    else:
        assert kind in {"counts", "tpm", "fpkm", "log2", "log1p", "zscore"}


@pytest.mark.parametrize("mark", ["\ufeff", "\u200b", "\u00ad"])
def test_a_gene_name_with_a_character_that_no_one_sees_is_that_gene(mark: str) -> None:
    from mirror.readers.expression.genes import canonical_genes

    genes, _ = canonical_genes(pd.DataFrame({"id": ["TP53", f"EG{mark}FR", f"{mark}ENSG00000141510.3"]}))
    assert genes["id"].tolist() == ["TP53", "EGFR", "ENSG00000141510"]


@pytest.mark.parametrize(("kind", "change"), [("counts", np.log2), ("tpm", lambda x: x / 1000), ("log2", np.exp2)])
def test_samples_of_two_scales_in_one_matrix_are_said(tmp_path, kind, change) -> None:
    """Half the samples of another scale, whichever way round; honest libraries of very different depth are not."""
    rng = np.random.default_rng(4)
    base = rng.lognormal(3, 1.5, 400)
    depth = rng.lognormal(0, 0.7, 30)  # a factor of twenty between the extremes
    counts = rng.poisson(np.outer(depth, base)) + 1.0
    honest = np.log2(counts + 1) if kind == "log2" else counts
    assert not two_scales(honest.astype(np.float32))
    mixed = honest.copy()
    mixed[::2] = change(mixed[::2])
    found = two_scales(mixed.astype(np.float32))
    assert {found["below"], found["above"]} == {15}
    path = tmp_path / "x.tsv"
    table = pd.DataFrame(
        mixed.T, index=[f"GENE{i}Q" for i in range(400)], columns=[f"TCGA-AA-{i:04d}-01" for i in range(30)]
    )
    table.to_csv(path, sep="\t", index_label="gene_name")
    source = ExpressionSource.model_validate({"path": str(path), "format": "matrix"})
    try:
        _, report = read_expression(source)
    except InputError:
        return  # refused is said, too
    assert any("two scales" in line for line in report["warnings"]), report["warnings"]
