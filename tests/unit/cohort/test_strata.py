"""Folds that are balanced in several targets at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mirror.cohort.splits.strata import deal_jointly, gather, rare_strata
from mirror.cohort.splits.stratified import make_splits
from mirror.config.splits import SplitSettings


def strata(n: int = 200, seed: int = 0) -> dict[str, np.ndarray]:
    """A common and a rare class, an event, a quartile, and patients without any."""
    rng = np.random.default_rng(seed)
    return {
        "histology": rng.choice(["IDC", "ILC", "rare"], n, p=[0.8, 0.15, 0.05]),
        "os": rng.choice(["event 0", "no event 1", ""], n, p=[0.15, 0.75, 0.1]),
        "tmb": np.array([f"quartile {i % 4 + 1}" for i in range(n)]),
    }


def spread(values: np.ndarray, fold: np.ndarray, folds: int) -> int:
    """Largest difference between folds in the count of any category."""
    counts = [np.bincount(fold[values == category], minlength=folds) for category in set(values)]
    return int(max(np.ptp(count) for count in counts))


@pytest.mark.parametrize("seed", range(5))
def test_every_target_is_balanced(seed):
    """Categories differ by at most four patients between folds, rare ones by one; chance does far worse."""
    groups, rng = strata(seed=seed), np.random.default_rng(seed)
    fold = deal_jointly(list(groups.values()), 5, rng)
    assert np.ptp(np.bincount(fold, minlength=5)) <= 4
    assert max(spread(values, fold, 5) for values in groups.values()) <= 4
    assert np.ptp(np.bincount(fold[groups["histology"] == "rare"], minlength=5)) <= 1
    assert spread(groups["histology"], fold, 5) < spread(groups["histology"], rng.integers(0, 5, 200), 5)


def test_a_category_with_as_many_patients_as_folds_is_in_every_fold():
    groups = strata()
    groups["rare"] = np.where(np.arange(200) < 5, "yes", "no")
    fold = deal_jointly(list(groups.values()), 5, np.random.default_rng(0))
    assert sorted(fold[:5]) == [0, 1, 2, 3, 4]
    assert not [m for m in rare_strata({"rare": groups["rare"]}, [fold], 5)]
    assert "os, event 0" in rare_strata({"os": np.array(["event 0", "", ""])}, [np.array([0, 1, 2])], 3)[0]


@pytest.mark.parametrize("kind", ["stratified", "site"])
def test_splits_take_strata_and_do_not_depend_on_the_rows_order(kind):
    names = [f"P{i:03d}" for i in range(200)]
    table = gather(names, {f"stratum:{k}": pd.Series(v, names) for k, v in strata().items()})
    table["site"] = [f"S{i % 23}" for i in range(200)]
    settings = SplitSettings(kind=kind, folds=4, repeats=2, site_restarts=5)
    one = make_splits(table, settings, 7)
    assert one.equals(make_splits(table.sample(frac=1, random_state=0), settings, 7))
    test = one[(one["set"] == "test") & (one["repeat"] == 0)].set_index("patient_id")["fold"]
    events = table.set_index("patient_id")["stratum:os"].reindex(test.index)
    assert np.ptp(test[events == "event 0"].value_counts().to_numpy()) <= (2 if kind == "stratified" else 12)
    assert not one.equals(make_splits(table, settings, 8))


def test_without_strata_the_folds_are_those_of_label_and_event():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"patient_id": [f"P{i}" for i in range(60)], "label": rng.choice(["a", "b"], 60)})
    table["time_days"], table["event"] = rng.integers(1, 900, 60), rng.integers(0, 2, 60)
    plain = make_splits(table, SplitSettings(folds=3), 1)
    test = plain[plain["set"] == "test"].set_index("patient_id")["fold"].reindex(table["patient_id"])
    counts = pd.crosstab([table["label"], table["event"]], test.to_numpy())
    assert (np.ptp(counts.to_numpy(), axis=1) <= 1).all() and "balanced in" not in " ".join(plain.attrs["messages"])
