"""Few-shot draws of one and of several numbers of shots."""

from __future__ import annotations

import runpy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import mirror
from mirror.config.evaluation import EvaluationSettings, FewShotSettings
from mirror.core.protocols import is_curve, is_fewshot, shots_of, table_shots
from mirror.evaluation.score import score_predictions
from mirror.io.predictions import Names
from mirror.report.figures.shots import curve_rows, learning_curve
from mirror.targets.fewshot import fewshot_settings, training_sets
from mirror.targets.fit import fit_task
from mirror.targets.folds import FoldRun
from mirror.targets.registry import Target

TARGETS = {
    "label": Target("label", "class"),
    "level": Target("level", "ordinal", ("low", "middle", "high")),
    "value": Target("value", "number"),
    "os": Target("os", "survival"),
}


def settings(k, **more) -> EvaluationSettings:
    few = {"k": k, "draws": 2, **more}
    return EvaluationSettings.model_validate({"fewshot": few, "statistics": {"bootstrap": 60, "refits": 10}})


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    n = 240
    value = rng.normal(size=n)
    return pd.DataFrame(
        {
            "value": value,
            "label": np.array(["low", "middle", "high"])[np.searchsorted([-0.4, 0.4], value)],
            "time_days": rng.exponential(900 * np.exp(-value)) + 1,
            "event": rng.integers(0, 2, n),
        },
        index=[f"P{i:03d}" for i in range(n)],
    )


@pytest.mark.parametrize("name", TARGETS)
def test_draws_are_nested_and_those_of_one_number(name, patients):
    """The patients of draw d with fewer shots are among those with more, and a list draws as its numbers alone do."""
    several = [1, 3, 8, 20]
    found: dict = {}
    for protocol, draw, chosen in training_sets(TARGETS[name], patients, 0, 1, settings(several), 7):
        if is_fewshot(protocol):
            found.setdefault(draw, {})[shots_of(protocol)] = chosen
    assert sorted(found) == [0, 1] and all(sorted(sets) == several for sets in found.values())
    for sets in found.values():
        for few, more in pairwise(several):
            assert set(sets[few]) < set(sets[more]) and len(set(sets[few])) == len(sets[few])
    assert found[0][8] != found[1][8]
    for k in several:
        alone = [s for s in training_sets(TARGETS[name], patients, 0, 1, settings(k), 7) if s[0] == "fewshot"]
        assert [chosen for *_, chosen in alone] == [found[draw][k] for draw in (0, 1)]


def test_survival_shots_hold_events_at_every_number(patients):
    for protocol, _, chosen in training_sets(TARGETS["os"], patients, 0, 1, settings([1, 4, 10]), 7):
        if is_fewshot(protocol):
            events = patients.loc[chosen, "event"].sum()
            assert 2 * events == len(chosen) == 4 * 2 * -(-shots_of(protocol) // 2)


def test_the_setting_takes_a_number_or_a_list():
    assert FewShotSettings(k=10).k == 10 and table_shots({"k": 10, "table_k": None}) == 10
    assert table_shots({"k": [25, 1, 5], "table_k": None}) == 25 and table_shots({"k": [1, 5], "table_k": 1}) == 1
    assert not is_curve({"protocols": ["fewshot"], "fewshot": {"k": [5]}})
    assert not is_curve({"protocols": ["linear"], "fewshot": {"k": [5, 10]}})
    for wrong in ({"k": []}, {"k": 0}, {"k": [1, 0]}, {"k": "ten"}, {"k": [1, 5], "table_k": 10}):
        with pytest.raises(ValidationError):
            FewShotSettings(**wrong)
    one = [protocol for protocol, *_ in training_sets("subtyping", shots_table(), 0, 0, settings([5]), 1)]
    assert one == ["linear", "fewshot", "fewshot"], "a list of one number is the number"


def test_tables_show_one_declared_number_of_shots():
    script = runpy.run_path(str(Path(mirror.__file__).parents[1] / "make_tables.py"), run_name="make_tables")
    for shots, protocol, title in (((10, [10]), "fewshot", "10-shot"), ((5, [1, 5, 10]), "fewshot_5", "5-shot")):
        specs = [s for s in script["wanted"](["mirror"], shots) if s["name"].startswith("fewshot_")]
        assert [s["protocols"] for s in specs] == [(protocol,)] * 2
        assert all(s["title"].startswith(title) for s in specs)
        assert all(("1, 5, 10" in s["note"]) == (len(shots[1]) > 1) for s in specs)


def shots_table() -> pd.DataFrame:
    return pd.DataFrame({"label": ["a", "b"] * 20}, index=[f"P{i}" for i in range(40)])


def predicted(patients: pd.DataFrame, chosen: EvaluationSettings, method: str, noise: float):
    """Out-of-fold predictions of one method, and the splits."""
    rng = np.random.default_rng(5)
    x = patients["value"].to_numpy()[:, None] + noise * rng.normal(size=(len(patients), 4))
    place = {p: i for i, p in enumerate(patients.index)}
    splits = pd.DataFrame(
        [(p, 0, f, "test" if i % 3 == f else "train") for f in range(3) for i, p in enumerate(patients.index)],
        columns=["patient_id", "repeat", "fold", "set"],
    )
    run = FoldRun(TARGETS["label"], patients, splits, Names("A", "e", "cv", method), chosen, 1)
    for fold in run:
        for protocol, draw, rows in training_sets(run.target, fold.train, 0, fold.source.fold, chosen, 1):
            how = fewshot_settings(chosen) if is_fewshot(protocol) else chosen
            train = fold.train.loc[rows]
            a, b = (x[[place[p] for p in part.index]] for part in (train, fold.test))
            found, _ = fit_task(run.target, "logistic", a, train, b, fold.test, how, 1)
            run.add(found, fold, protocol=protocol, modality="rna", head="logistic", place={"draw": draw}, train=train)
    return run.result().rows, splits


@pytest.fixture(scope="module")
def scored(patients):
    chosen = settings([2, 10])
    rows = [predicted(patients, chosen, name, noise) for name, noise in (("clear", 0.5), ("dim", 3.0))]
    frame, splits = pd.concat([r for r, _ in rows], ignore_index=True), rows[0][1]
    return frame, splits, score_predictions({"label": frame}, {}, {("A", "cv"): splits}, chosen, [TARGETS["label"]])


def test_each_number_of_shots_has_its_own_rows_intervals_and_family(scored):
    _, _, tables = scored
    pooled = tables.metrics.query("fold == 'pooled'").set_index(["protocol", "method", "metric"])["value"]
    for method in ("clear", "dim"):
        assert pooled["fewshot_2", method, "auroc"] < pooled["linear", method, "auroc"]
        assert pooled["fewshot_2", method, "training_patients"] == 6
        assert pooled["fewshot_10", method, "training_patients"] == 30
    few = tables.metrics.query("fold == 'pooled' and protocol == 'fewshot_2' and metric == 'auroc'")
    assert set(few["covers"]) == {"draws, widened"} and few["ci_low"].notna().all() and few["declared"].all()
    family = tables.comparisons[tables.comparisons["in_family"]]
    assert sorted(family["table"]) == ["fewshot_10", "fewshot_2", "full"]
    assert (family["protocol_a"] == family["protocol_b"]).all() and (family["method_a"] == "clear").all()


def test_a_single_number_is_as_it_was(scored, patients):
    """Same values and intervals as that number of a list; no row and no protocol that says there are several."""
    chosen = settings(10)
    rows, splits = predicted(patients, chosen, "clear", 0.5)
    alone = score_predictions({"label": rows}, {}, {("A", "cv"): splits}, chosen, [TARGETS["label"]]).metrics
    assert set(alone["protocol"]) == {"linear", "fewshot"} and "training_patients" not in set(alone["metric"])
    shown = ["repeat", "fold", "draw", "metric", "value", "ci_low", "ci_high"]
    listed = scored[2].metrics.query("method == 'clear' and protocol == 'fewshot_10' and metric != 'training_patients'")
    alone = alone.query("protocol == 'fewshot'")
    pd.testing.assert_frame_equal(listed[shown].reset_index(drop=True), alone[shown].reset_index(drop=True))


def test_the_curve_shows_every_number_and_the_full_data_value(scored):
    metrics = scored[2].metrics
    names = {"cohort": "A", "encoder": "e", "scheme": "cv", "task": "label"}
    rows = curve_rows(metrics, names, "auroc")
    assert rows.groupby("method")["k"].apply(sorted).to_dict() == {m: [2, 10, np.inf] for m in ("clear", "dim")}
    panel = learning_curve(metrics, names, "auroc", "A", 0.5).axes[0]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["2\n6", "10\n30", "all"]
    drawn = panel.get_legend_handles_labels()[1]
    assert len(drawn) == 2 and drawn[0].startswith("clear")
    nothing = learning_curve(metrics[metrics["protocol"] == "linear"], names, "auroc", "A")
    assert "no few-shot rows" in nothing.axes[0].texts[0].get_text()
