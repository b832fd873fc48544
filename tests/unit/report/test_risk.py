"""Figures of absolute risk say what they show, and what they cannot show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mirror.io.predictions import Names, stamp, write_predictions
from mirror.plan.kinds import find_kinds
from mirror.report.figures.request import Request
from mirror.report.figures.risk import (
    calibration_at_horizons,
    decision_curves,
    draw,
    kaplan_meier_within_stage,
)
from mirror.targets.survival import survival_rows

HORIZONS = [365.25, 1095.75, 1826.25]


def predicted(n: int = 300, seed: int = 0, scale: float = 1500.0) -> pd.DataFrame:
    """Out-of-fold rows whose curves are the true ones."""
    rng = np.random.default_rng(seed)
    rate = np.exp(0.6 * rng.normal(size=n)) / scale
    death, censored = rng.exponential(1 / rate), rng.uniform(300, 4000, n)
    times = np.linspace(30, 3000, 40)
    rows = survival_rows(
        [f"P{i:03d}" for i in range(n)], np.minimum(death, censored), (death <= censored).astype(int), rate,
        float(np.median(rate)), times, np.exp(-rate[:, None] * times),
    )  # fmt: skip
    return rows.assign(repeat=0, fold=np.arange(n) % 3, draw=0)


def test_decision_curves_have_a_panel_per_horizon_and_both_references():
    rows = predicted()
    drawn = {("clinical", "clinical", "cox"): rows, ("mirror", "fused", "cox"): rows}
    figure = decision_curves(drawn, ("mirror", "fused", "cox"), HORIZONS, 1)
    assert len(figure.axes) == 3 and figure.axes[1].get_title().startswith("3.0 years (n = 300, ")
    for panel in figure.axes:
        lines = {line.get_label(): line.get_ydata() for line in panel.get_lines()}
        assert {"treat all", "treat none", "MIRROR (slide + RNA), Cox"} <= set(lines)
        at = len(lines["treat all"]) // 2
        assert lines["MIRROR (slide + RNA), Cox"][at] > max(0, lines["treat all"][at])  # true risks are of use
        assert len(panel.collections) == 1, "one band"


def test_calibration_names_what_was_predicted_and_observed():
    figure = calibration_at_horizons(predicted(), HORIZONS, "MIRROR")
    assert len(figure.axes) == 3
    text = figure.axes[1].get_title()
    predicted_mean, observed = (float(text.split(word)[1].split(",")[0]) for word in ("predicted ", "observed "))
    assert abs(predicted_mean - observed) < 0.08


def test_horizons_with_few_events_are_left_out_and_none_is_said():
    rows = predicted(scale=12000.0)
    dead = ((rows["event"] == 1).to_numpy()[:, None] & (rows["time_days"].to_numpy()[:, None] <= HORIZONS)).sum(axis=0)
    assert dead[0] < 20 <= dead[2]
    assert len(calibration_at_horizons(rows, HORIZONS, "").axes) == (dead >= 20).sum()
    nothing = calibration_at_horizons(rows, [60.0], "")
    assert "fewer than 20 events" in nothing.axes[0].texts[0].get_text()
    none = decision_curves({("m", "rna", "cox"): rows}, ("m", "rna", "cox"), [60.0, 90000.0], 0)
    assert "fewer than 20 events" in none.axes[0].texts[0].get_text()


@pytest.mark.parametrize("repeats", [1, 2])
def test_risk_within_stage_draws_each_stage_and_counts_the_rest(repeats):
    rows = pd.concat([predicted().assign(repeat=r) for r in range(repeats)])
    stage = pd.Series(["I", "II", "III", None] * 75, index=[f"P{i:03d}" for i in range(300)])
    stage.iloc[:3] = "IV"
    figure = kaplan_meier_within_stage(rows, stage, "MIRROR")
    titles = [panel.get_title() for panel in figure.axes]
    assert [title.split(" (")[0] for title in titles] == ["Stage I", "Stage II", "Stage III"]
    assert "stage IV" in figure.get_suptitle() and "75 patients of unknown stage" in figure.get_suptitle()
    shown = [int(t.split("n = ")[1].split(",")[0]) for t in titles]
    assert sum(shown) == 300 - 75 - 3
    nobody = kaplan_meier_within_stage(rows, stage.where(stage.isna()), "")
    assert "has no stage of any patient" in nobody.axes[0].texts[0].get_text()


def test_one_figure_of_each_for_the_last_method_and_files_of_the_others(tmp_path):
    columns = ["cohort", "encoder", "scheme", "task", "method", "protocol", "modality", "head"]
    files, metrics = [], []
    for method, modality in (("rna_cox", "rna"), ("mirror", "fused")):
        for head in ("cox", "discrete"):
            how = {"task": "os", "protocol": "linear", "modality": modality, "head": head, "seed": 1}
            rows = stamp(predicted(), Names("A", "e", "cv", method), **how)
            files.append(tmp_path / f"{method}_{head}.parquet")
            write_predictions(files[-1], rows, "survival", {})
            metrics.append({**rows.iloc[0][columns].to_dict(), "fold": "pooled", "declared": head == "cox"})
    people = pd.DataFrame({"stage": np.resize(["I", "II"], 300)}, index=[f"P{i:03d}" for i in range(300)])
    names = {"cohort": "A", "encoder": "e", "scheme": "cv"}
    pd.DataFrame(metrics).assign(metric="c_index", value=0.6).to_csv(tmp_path / "metrics.tsv", sep="\t", index=False)
    people.rename_axis("patient_id").to_csv(tmp_path / "patients.tsv", sep="\t")
    request = Request(
        files, tmp_path / "metrics.tsv", tmp_path / "patients.tsv", names, {"name": "os"}, HORIZONS, 1, tmp_path
    )
    found = draw(request)
    assert (
        set(found)
        == {"km", "auc", "km_stage", "net_benefit", "risk_calibration"}
        == set(find_kinds()["survival"].figures)
    )
    assert found["risk_calibration"].get_suptitle() == "MIRROR (slide + RNA), Cox"
    saved = {p.name for p in tmp_path.glob("*.png") if not p.name.startswith("os_km_") or "stage" in p.name}
    assert saved == {"os_km_stage_rna_cox_rna_cox.png", "os_risk_calibration_rna_cox_rna_cox.png"}
    assert [panel.get_title()[:7] for panel in found["km_stage"].axes] == ["Stage I", "Stage I"]
