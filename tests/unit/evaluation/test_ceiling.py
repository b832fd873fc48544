"""The ceiling: what the truth reaches, on simulated cohorts alone, and in no comparison."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mirror.config.evaluation import EvaluationSettings
from mirror.core.errors import InputError
from mirror.evaluation import compare
from mirror.evaluation.simulated.ceiling import evaluate_ceiling, read_factors
from mirror.io.predictions import Names
from mirror.plan import plan as dag
from mirror.simulation.world import draw_world

NAMES = Names("SIM", "none", "cv", "ceiling")


@pytest.fixture(scope="module")
def world():
    return draw_world(240, 100, 3)


@pytest.fixture(scope="module")
def study(world):
    patients = world.clinical.rename(columns={"subtype": "label", "os_days": "time_days", "os_event": "event"})
    patients = patients.set_index("patient_id", drop=False).rename_axis(None)
    rows = [
        {"patient_id": p, "repeat": 0, "fold": f, "set": "test" if i % 2 == f else "train"}
        for f in (0, 1)
        for i, p in enumerate(patients.index)
    ]
    return world.factors.set_index("patient_id"), patients, pd.DataFrame(rows)


def test_plan_and_comparisons_mean_the_same_method():
    assert dag.CEILING == compare.CEILING == "ceiling"


def test_truth_predicts_labels_out_of_fold(study):
    factors, patients, splits = study
    rows = evaluate_ceiling(factors, patients, splits, "subtyping", NAMES, EvaluationSettings(), 0).rows
    assert sorted(rows["patient_id"]) == sorted(patients.index)
    assert set(rows["modality"]) == {"truth"}
    found = zip(rows["classes"], rows["probabilities"], rows["y_true"], strict=True)
    right = [c[int(np.argmax(p))] == y for c, p, y in found]
    assert np.mean(right) > 0.75


def test_truth_predicts_survival_and_shuffled_truth_does_not(study):
    from sksurv.metrics import concordance_index_censored

    factors, patients, splits = study
    c = []
    for table in (factors, factors.sample(frac=1, random_state=0).set_axis(factors.index)):
        rows = evaluate_ceiling(table, patients, splits, "survival", NAMES, EvaluationSettings(), 0).rows
        event = rows["event"].to_numpy(bool)
        c.append(concordance_index_censored(event, rows["time_days"], rows["risk"])[0])
    assert c[0] > 0.72
    assert abs(c[1] - 0.5) < 0.1


def test_a_table_without_factors_is_refused(tmp_path):
    (tmp_path / "f.tsv").write_text("patient_id\nP1\n")
    with pytest.raises(InputError, match="factors"):
        read_factors(tmp_path / "f.tsv")
