"""Every leak that can be planted is found, and a clean run passes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st
from pydantic import ValidationError

from mirror.audit.checks import (
    FITTED_CHECKS,
    Check,
    check_fitted,
    check_patient_overlap,
    check_rna_duplicates,
    check_shared_sites,
    check_site_label,
    check_slide_duplicates,
    check_test_coverage,
    cramers_v,
    same_vectors,
)
from mirror.audit.provenance import Fitted
from mirror.audit.run import conclude, run_audit
from mirror.cohort.splits.stratified import make_splits
from mirror.config.audit import AuditSettings
from mirror.config.splits import SplitSettings
from mirror.core.errors import InputError

N = 40


@pytest.fixture
def patients() -> pd.DataFrame:
    """Forty patients of four sites, both labels at every site."""
    ids = [f"TCGA-{'ABCD'[i % 4]}1-{i:04d}" for i in range(N)]
    return pd.DataFrame({"patient_id": ids, "label": ["x" if i // 4 % 2 else "y" for i in range(N)], "site": None})


@pytest.fixture
def splits(patients: pd.DataFrame) -> pd.DataFrame:
    return make_splits(patients, SplitSettings(folds=4, repeats=2), 0)


@pytest.fixture
def slides(patients: pd.DataFrame) -> pd.DataFrame:
    """Two slides per patient, each with a content of its own."""
    rows = [(f"{p}-01Z-00-DX{k}", p, f"sha-{p}-{k}") for p in patients["patient_id"] for k in (1, 2)]
    return pd.DataFrame(rows, columns=["slide_id", "patient_id", "fingerprint"])


@pytest.fixture
def rna(patients: pd.DataFrame) -> np.ndarray:
    return np.random.default_rng(0).normal(5, 2, (N, 200))


def honest(splits: pd.DataFrame) -> list[Fitted]:
    """One object of each kind a fold, each having seen the training patients."""
    train = splits[splits["set"] == "train"].groupby(["repeat", "fold"])["patient_id"].agg(tuple)
    return [Fitted(kind, r, f, seen, f"{kind}_r{r}f{f}") for (r, f), seen in train.items() for kind in FITTED_CHECKS]


def test_clean_run_passes(patients, splits, slides, rna, tmp_path: Path) -> None:
    checks = run_audit(
        splits,
        AuditSettings(),
        patients=patients,
        slides=slides,
        expression=(patients["patient_id"].tolist(), rna),
        fitted=honest(splits),
    )
    assert [check.name for check in checks if not check.passed] == []
    assert len({check.name for check in checks}) == len(checks) == 13
    conclude(checks, tmp_path / "leaks.json")
    stored = json.loads((tmp_path / "leaks.json").read_text())
    assert stored["passed"] and {"name", "passed", "allowed", "reason", "numbers", "message"} <= set(
        stored["checks"][0]
    )


@pytest.mark.fault(
    stage="splits",
    fault="a patient in training and test, under any spelling",
    sees="the audit's check, with the names",
    survives="nothing is trained",
)
@pytest.mark.parametrize(
    "form", [str, str.lower, lambda p: p.replace("-", "."), lambda p: p + "-01A", lambda p: p + "-01Z-00-DX1.abc.svs"]
)
def test_patient_in_two_sets_is_found_in_any_form(splits, form) -> None:
    train = splits[(splits["repeat"] == 1) & (splits["fold"] == 2) & (splits["set"] == "train")]
    planted = pd.concat([splits, train.head(3).assign(set="test", patient_id=train["patient_id"].head(3).map(form))])
    check = check_patient_overlap(planted)
    assert not check.passed and check.blocks
    assert check.numbers["patients"] == 3
    assert {where: n for where, n in check.numbers["by_fold"].items() if n} == {"r1f2": 3}


def across(splits: pd.DataFrame) -> tuple[str, str]:
    """A training and a test patient of fold r0f0."""
    fold = splits[(splits["repeat"] == 0) & (splits["fold"] == 0)]
    return tuple(fold.loc[fold["set"] == name, "patient_id"].iloc[0] for name in ("train", "test"))


def together(splits: pd.DataFrame) -> tuple[str, str]:
    """Two patients that are never in different sets."""
    tested = splits[splits["set"] == "test"].groupby("patient_id")[["repeat", "fold"]].apply(
        lambda rows: tuple(map(tuple, rows.to_numpy()))
    )  # fmt: skip
    same = tested.groupby(tested).apply(lambda rows: list(rows.index))
    return tuple(next(pair for pair in same if len(pair) > 1)[:2])


@pytest.mark.fault(
    stage="splits",
    fault="one slide under two names, in training and test",
    sees="the audit's check, with the slides",
    survives="nothing is trained",
)
def test_same_slide_under_two_names_is_found(splits, slides) -> None:
    first, second = across(splits)
    slides.loc[slides["patient_id"] == second, "fingerprint"] = [f"sha-{first}-1", "own"]
    check = check_slide_duplicates(slides, splits)
    assert not check.passed and check.numbers["across_sets"] == 1
    assert check.numbers["examples"][0]["patients"] == sorted([first, second])
    assert "r0f0" in check.numbers["examples"][0]["folds"]


def test_same_slide_inside_one_set_is_no_leak(splits, slides) -> None:
    first, second = together(splits)
    slides.loc[slides["patient_id"] == second, "fingerprint"] = [f"sha-{first}-1", "own"]
    check = check_slide_duplicates(slides, splits)
    assert check.passed and check.numbers["same_content"] == 1


def test_slides_without_fingerprint_are_counted_not_matched(splits, slides) -> None:
    check = check_slide_duplicates(slides.assign(fingerprint=""), splits)
    assert check.passed and check.numbers["without_fingerprint"] == 2 * N
    assert check_slide_duplicates(slides.drop(columns="fingerprint"), splits).numbers["without_fingerprint"] == 2 * N


@pytest.mark.fault(
    stage="splits",
    fault="one RNA sample under two names, in training and test",
    sees="the audit's check, with the patients",
    survives="nothing is trained",
)
@pytest.mark.parametrize("change", ["none", "rounded", "float32"])
def test_same_rna_vector_is_found(patients, splits, rna, change) -> None:
    names = patients["patient_id"].tolist()
    first, second = (names.index(p) for p in across(splits))
    copy = {"none": rna[first], "rounded": rna[first].round(3), "float32": rna[first].astype(np.float32)}[change]
    rna[second] = copy
    check = check_rna_duplicates(names, rna, splits)
    assert not check.passed and check.numbers["across_sets"] == 1
    assert check.numbers["examples"][0]["patients"] == sorted([names[first], names[second]])


def test_rna_counts_that_differ_are_no_duplicates(patients, splits) -> None:
    counts = np.random.default_rng(1).poisson(20, (N, 500)).astype(float)
    assert check_rna_duplicates(patients["patient_id"].tolist(), counts, splits).passed


@options(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), genes=st.integers(1, 300), scale=st.sampled_from([1e-2, 1.0, 1e4]))
def test_vectors_within_tolerance_are_always_grouped(seed: int, genes: int, scale: float) -> None:
    """The projections may propose too many pairs, never too few."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, scale, (12, genes))
    x[7] = np.sign(x[2]) * np.expm1(np.log1p(np.abs(x[2])) + rng.uniform(0, 9.9e-4, genes))
    assert any({2, 7} <= set(group) for group in same_vectors(x, 1e-3))


@pytest.mark.fault(
    stage="splits",
    fault="a gene set or transform fitted with test patients",
    sees="the audit's check",
    survives="nothing is trained",
)
@pytest.mark.parametrize("kind", FITTED_CHECKS)
def test_object_fitted_with_test_patients_is_found(splits, kind) -> None:
    records = honest(splits)
    place = next(i for i, r in enumerate(records) if r.check == kind and (r.repeat, r.fold) == (1, 3))
    test = splits[(splits["repeat"] == 1) & (splits["fold"] == 3) & (splits["set"] == "test")]["patient_id"]
    records[place] = replace(records[place], patients=(*records[place].patients, test.iloc[0].lower(), test.iloc[1]))
    for name in FITTED_CHECKS:
        check = check_fitted(name, records, splits)
        assert check.passed == (name != kind)
    check = check_fitted(kind, records, splits)
    assert check.blocks and check.numbers["leaking"] == 1 and check.numbers["test_patients"] == 2
    assert "r1f3: 2" in check.message


@pytest.mark.fault(
    stage="splits",
    fault="a fitted object that does not say whom it saw",
    sees="the audit's check fails",
    survives="nothing is trained",
)
def test_object_without_a_record_or_a_fold_fails(splits) -> None:
    silent = check_fitted("scaling", [Fitted("scaling", 0, 0, None, "a.npz")], splits)
    assert not silent.passed and "no record" in silent.message
    stranger = check_fitted("scaling", [Fitted("scaling", 0, 9, (), "a.npz")], splits)
    assert not stranger.passed and "no fold" in stranger.message


def test_site_with_one_label_is_found(patients) -> None:
    clean = check_site_label(patients)
    assert clean.passed and clean.numbers["cramers_v"] < 0.1
    site_a = patients["patient_id"].str.startswith("TCGA-A1")
    confounded = patients.assign(label=patients["label"].where(~site_a, "x"))
    check = check_site_label(confounded)
    assert not check.passed and not check.blocks and check.level == "warning"
    assert check.numbers["single_label_sites"] == 1 and check.numbers["examples"] == ["A1"]
    assert check.numbers["patient_share"] == pytest.approx(0.25)
    assert 0 < check.numbers["patient_share_by_chance"] < 0.05


def test_cramers_v_against_known_answers() -> None:
    assert cramers_v(np.array([[50, 0], [0, 50]])) == pytest.approx(1.0, abs=1e-6)
    assert cramers_v(np.array([[25, 25], [25, 25]])) == 0
    # Bergsma's formulas by hand: phi2 = 0.16, less 1/99; both sides 2 - 1/99.
    expected = np.sqrt((0.16 - 1 / 99) / (1 - 1 / 99))
    assert cramers_v(np.array([[35, 15], [15, 35]])) == pytest.approx(expected)


def test_shared_sites_are_an_error_only_where_promised(patients, splits) -> None:
    told = check_shared_sites(splits, patients, site_preserving=False)
    assert told.passed and told.numbers["test_patient_share"] == 1
    assert check_shared_sites(splits, patients, site_preserving=True).blocks
    kept = make_splits(patients, SplitSettings(kind="site", folds=4), 0)
    check = check_shared_sites(kept, patients, site_preserving=True)
    assert check.passed and check.numbers["test_patient_share"] == 0


def test_patients_that_are_not_tested_are_counted(patients, splits) -> None:
    lost = patients["patient_id"].iloc[0]
    twice = splits[(splits["repeat"] == 0) & (splits["fold"] == 1) & (splits["set"] == "test")].head(1).assign(fold=2)
    check = check_test_coverage(pd.concat([splits[splits["patient_id"] != lost], twice]), patients["patient_id"])
    assert not check.passed and not check.blocks
    assert check.numbers == {"patients": N, "not_in_splits": 1, "never_tested": 1, "tested_more_than_once": 1}


@pytest.mark.fault(
    stage="splits",
    fault="any failed check of the audit",
    sees="which check, its numbers, and the file",
    survives="the report, to be read; nothing is trained",
)
def test_failure_stops_the_run_and_can_be_read(tmp_path: Path) -> None:
    bad = Check("rna_duplicates", False, "error", {"across_sets": 2}, "2 RNA vectors are in train and test")
    with pytest.raises(InputError, match=r"leaks.failed.json: the leak audit failed: rna_dup.*audit.allow"):
        conclude([bad], tmp_path / "leaks.json")
    assert not (tmp_path / "leaks.json").exists()
    assert json.loads((tmp_path / "leaks.failed.json").read_text())["passed"] is False
    conclude([replace(bad, allowed=True, reason="technical replicates")], tmp_path / "leaks.json")
    assert not (tmp_path / "leaks.failed.json").exists()
    stored = json.loads((tmp_path / "leaks.json").read_text())
    assert stored["passed"] and stored["checks"][0]["reason"] == "technical replicates"


def test_allowed_failure_keeps_its_reason(splits) -> None:
    records = [Fitted("gene_selection", 0, 0, tuple(splits["patient_id"].unique()), "genes_r0f0.json")]
    stopped = run_audit(splits, AuditSettings(), fitted=records)
    assert any(check.blocks for check in stopped)
    told = run_audit(splits, AuditSettings(allow={"gene_selection": "the published way"}), fitted=records)
    check = next(check for check in told if check.name == "gene_selection")
    assert not check.passed and check.allowed and check.reason == "the published way" and not check.blocks


@pytest.mark.fault(
    stage="config",
    fault="an allowance of an unknown check, or without a reason",
    sees="that a reason is wanted",
    survives="nothing has run",
)
@pytest.mark.parametrize("allow", [{"nonsense": "because"}, {"scaling": ""}])
def test_allowance_needs_a_known_check_and_a_reason(allow) -> None:
    with pytest.raises(ValidationError):
        AuditSettings(allow=allow)
