"""Folds by patient: no overlap, balanced, seeded, whatever the order of the rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mirror.cohort.splits.sites import assign_sites, imbalance, sites_of
from mirror.cohort.splits.stratified import make_splits
from mirror.config.splits import SplitSettings
from mirror.core.atomic import write_tsv
from mirror.core.errors import InputError
from mirror.core.patient_keys import patient_key
from mirror.io.splits import fold_sets, read_splits


def draw_patients(n: int, seed: int, sites: int = 12, unlabelled: float = 0.1) -> pd.DataFrame:
    """Patients with correlated label, event and site; some without label and survival."""
    rng = np.random.default_rng(seed)
    label = rng.choice(["A", "B", "C"], n, p=[0.6, 0.3, 0.1]).astype(object)
    event = rng.integers(0, 2, n).astype(float)
    time = rng.exponential(800, n).round()
    label[rng.random(n) < unlabelled] = None
    event[rng.random(n) < unlabelled] = np.nan
    site = rng.choice([f"S{i}" for i in range(sites)], n, p=rng.dirichlet(np.full(sites, 2.0)))
    return pd.DataFrame(
        {"patient_id": [f"P{i:04d}" for i in rng.permutation(n)], "label": label, "time_days": time, "event": event,
         "site": site}
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(n=st.integers(20, 150), folds=st.integers(2, 6), repeats=st.integers(1, 3), seed=st.integers(0, 1000))
def test_every_patient_is_tested_once_a_repeat(n: int, folds: int, repeats: int, seed: int) -> None:
    patients = draw_patients(n, seed)
    splits = make_splits(patients, SplitSettings(folds=folds, repeats=repeats), seed)
    tested = splits[splits["set"] == "test"].groupby(["repeat", "patient_id"]).size()
    assert len(tested) == n * repeats and (tested == 1).all()
    assert not splits.duplicated(["patient_id", "repeat", "fold"]).any()
    assert len(splits) == n * folds * repeats
    for repeat in range(repeats):
        for fold in range(folds):
            train, test = fold_sets(splits, repeat, fold)
            assert not set(train) & set(test) and len(train) + len(test) == n


@settings(max_examples=40, deadline=None)
@given(n=st.integers(20, 150), folds=st.integers(2, 6), seed=st.integers(0, 1000))
def test_strata_differ_by_at_most_one_between_folds(n: int, folds: int, seed: int) -> None:
    patients = draw_patients(n, seed)
    splits = make_splits(patients, SplitSettings(folds=folds), seed)
    test = splits[splits["set"] == "test"].merge(patients, on="patient_id")
    test["joint"] = test["label"].fillna("") + test["event"].astype(str)
    for column in ("set", "label", "joint"):
        counts = test.groupby(["fold", test[column].fillna("")]).size().unstack(fill_value=0)
        counts = counts.reindex(range(folds), fill_value=0)
        assert (counts.max() - counts.min()).max() <= 1, column
    events = test[test["event"] == 1].groupby("fold").size().reindex(range(folds), fill_value=0)
    assert events.max() - events.min() <= 3


def test_time_tertiles_are_balanced() -> None:
    patients = draw_patients(300, 3, unlabelled=0)
    splits = make_splits(patients, SplitSettings(folds=5), 1)
    test = splits[splits["set"] == "test"].merge(patients, on="patient_id")
    for event in (0, 1):
        cut = patients.loc[patients["event"] == event, "time_days"].quantile(1 / 3)
        early = test[(test["event"] == event) & (test["time_days"] <= cut)]
        counts = early.groupby(["label", "fold"]).size().unstack(fill_value=0)
        assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), kind=st.sampled_from(["stratified", "site"]))
def test_row_order_does_not_matter(seed: int, kind: str) -> None:
    patients = draw_patients(60, seed, sites=15)
    if patients["site"].nunique() < 4:
        return
    scheme = SplitSettings(kind=kind, folds=4, site_restarts=3)
    shuffled = patients.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(make_splits(patients, scheme, 5), make_splits(shuffled, scheme, 5))


def test_seed_and_repeat_change_the_folds() -> None:
    patients = draw_patients(80, 1)
    one = make_splits(patients, SplitSettings(repeats=2), 1)
    assert not one.equals(make_splits(patients, SplitSettings(repeats=2), 2))
    halves = [one.loc[one["repeat"] == r, "set"].tolist() for r in (0, 1)]
    assert halves[0] != halves[1]


@settings(max_examples=25, deadline=None)
@given(n=st.integers(40, 150), folds=st.integers(2, 5), seed=st.integers(0, 1000))
def test_sites_are_never_divided(n: int, folds: int, seed: int) -> None:
    patients = draw_patients(n, seed, sites=20)
    scheme = SplitSettings(kind="site", folds=folds, repeats=2, site_restarts=4)
    splits = make_splits(patients, scheme, seed)
    test = splits[splits["set"] == "test"].merge(patients, on="patient_id")
    assert (test.groupby(["repeat", "site"])["fold"].nunique() == 1).all()
    assert (test.groupby("repeat")["fold"].nunique() == folds).all()
    assert len(test) == 2 * n


def test_site_folds_balance_as_well_as_possible() -> None:
    """20 sites of 5 to 15 patients: labels come out within 10 % of even, far better than at random."""
    rng = np.random.default_rng(0)
    sites = np.repeat([f"S{i:02d}" for i in range(20)], rng.integers(5, 16, 20))
    labels = np.where(rng.random(len(sites)) < 0.3, "B", "A")
    fold = assign_sites(sites, [labels], 5, 1, seed=0)[0]
    for label in "AB":
        counts = np.bincount(fold[labels == label], minlength=5)
        even = (labels == label).sum() / 5
        assert np.abs(counts - even).max() <= max(1, 0.1 * even), counts
    table = pd.crosstab(fold, labels).to_numpy()
    names = np.unique(sites)
    random = [
        imbalance(pd.crosstab(dict_map(names, rng.integers(0, 5, 20), sites), labels).to_numpy()) for _ in range(200)
    ]
    assert imbalance(table) < np.quantile(random, 0.01)


def dict_map(names: np.ndarray, folds: np.ndarray, sites: np.ndarray) -> np.ndarray:
    lookup = dict(zip(names, folds, strict=True))
    return np.array([lookup[site] for site in sites])


def test_site_search_finds_a_perfect_partition() -> None:
    """Ten pairs of sites that add up to the same mix: J must reach 0."""
    sites = np.array([s for i in range(5) for s in [f"a{i}"] * 7 + [f"b{i}"] * 3])
    labels = np.array((["A"] * 5 + ["B"] * 2 + ["A"] * 1 + ["B"] * 2) * 5)
    notes: list[str] = []
    fold = assign_sites(sites, [labels], 5, 1, seed=3, messages=notes)[0]
    assert imbalance(pd.crosstab(fold, labels).to_numpy()) == 0
    assert "J = 0" in notes[0]


def test_sites_come_from_the_barcode() -> None:
    table = pd.DataFrame({"patient_id": ["TCGA-A3-3307", "TCGA-B0-1234", "X1"], "site": [None, "Graz", np.nan]})
    sites, messages = sites_of(table)
    assert sites.tolist() == ["A3", "Graz", "(unknown)"]
    assert messages == ["1 patients have no known site; they are kept together as one site"]


@pytest.mark.fault(
    stage="splits",
    fault="fewer sites or patients than folds",
    sees="how many there are",
    survives="no folds are written",
)
def test_too_few_sites_or_patients_are_refused() -> None:
    patients = draw_patients(30, 0, sites=2)
    with pytest.raises(InputError, match="2 sites cannot fill 5"):
        make_splits(patients, SplitSettings(kind="site"), 0)
    with pytest.raises(InputError, match="3 patients cannot fill 5"):
        make_splits(patients.head(3), SplitSettings(), 0)


@pytest.mark.fault(
    stage="splits", fault="one patient under two names", sees="both names", survives="no folds are written"
)
def test_one_patient_under_two_names_is_refused() -> None:
    patients = draw_patients(20, 0)
    patients.loc[0, "patient_id"] = "TCGA-A3-3307"
    patients.loc[1, "patient_id"] = "tcga.a3.3307.01A"
    with pytest.raises(InputError, match="two identifiers"):
        make_splits(patients, SplitSettings(), 0)


def test_rare_labels_and_missing_outcomes_are_stated() -> None:
    patients = draw_patients(40, 2, unlabelled=0)
    patients["label"] = ["rare"] * 2 + ["common"] * 38
    patients.loc[5:7, ["label", "event"]] = [None, np.nan]
    messages = make_splits(patients, SplitSettings(), 0).attrs["messages"]
    assert "label rare: 2 patients; 3 of 5 folds test none of them" in messages
    assert any(m.startswith("3 patients have neither") for m in messages)


def test_patients_table_without_outcomes_still_splits() -> None:
    splits = make_splits(pd.DataFrame({"patient_id": [f"p{i}" for i in range(11)]}), SplitSettings(folds=5), 0)
    assert sorted(splits[splits["set"] == "test"].groupby("fold").size()) == [2, 2, 2, 2, 3]


@pytest.mark.fault(
    stage="splits",
    fault="a splits table with a fold without test patients, or a set of unknown name",
    sees="the fold, or that it is neither train nor test",
    survives="it is not used",
)
def test_file_is_checked(tmp_path) -> None:
    splits = make_splits(draw_patients(20, 0), SplitSettings(), 0)
    write_tsv(tmp_path / "splits.tsv", splits)
    pd.testing.assert_frame_equal(read_splits(tmp_path / "splits.tsv"), splits)
    write_tsv(tmp_path / "half.tsv", splits[(splits["fold"] != 1) | (splits["set"] == "train")])
    with pytest.raises(InputError, match=r"r0f1.*no test"):
        read_splits(tmp_path / "half.tsv")
    write_tsv(tmp_path / "odd.tsv", splits.assign(set="val"))
    with pytest.raises(InputError, match="neither train nor test"):
        read_splits(tmp_path / "odd.tsv")


def test_keys() -> None:
    for form in ("TCGA-A3-3307", "tcga.a3.3307", "TCGA_A3_3307", " TCGA-A3-3307-01Z-00-DX1.uuid ", "tcga-a3-3307-01A"):
        assert patient_key(form) == "TCGA-A3-3307"
    assert patient_key("Patient 7") == "PATIENT-7"
    assert patient_key("TCGA-A3-33071") != "TCGA-A3-3307"


@pytest.mark.parametrize(
    "bad", [{"kind": "published"}, {"kind": "published", "path": "x", "repeats": 2}, {"repair": True}]
)
def test_contradictory_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        SplitSettings(**bad)
