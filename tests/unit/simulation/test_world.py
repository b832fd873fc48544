"""The simulated cohort: reproducible, readable by OpenSlide, with the signal it says it has."""

from __future__ import annotations

import numpy as np
import openslide
import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import cross_val_predict, cross_val_score
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from mirror.config.cohort import SimulateSettings
from mirror.plan.simulated import patient_names, slide_names
from mirror.simulation.render import render_region, write_slide
from mirror.simulation.world import draw_world
from mirror.simulation.write import write_cohort


def test_names_are_unique_and_some_patients_have_two_slides():
    names, slides = patient_names(60), slide_names(60)
    assert len(set(names)) == 60
    assert len({s for s, _ in slides}) == len(slides) == 70
    assert not set(patient_names(60, "A_b")) & set(names), "cohorts of one configuration share no patient"
    assert patient_names(2, "A_b") == ["Ab-A1-0001", "Ab-B2-0002"]


def test_the_same_seed_draws_the_same_world():
    a, b, c = draw_world(20, 100, 3), draw_world(20, 100, 3), draw_world(20, 100, 4)
    pd.testing.assert_frame_equal(a.counts, b.counts)
    pd.testing.assert_frame_equal(a.clinical, b.clinical)
    assert not a.factors.equals(c.factors)


def test_outcomes_depend_on_all_three_groups():
    world = draw_world(1500, 120, 1)
    factors = world.factors.drop(columns="patient_id")
    label = (world.clinical["subtype"] == "SIM2").to_numpy()
    full = cross_val_score(LogisticRegression(), factors, label, cv=5, scoring="roc_auc").mean()
    assert 0.85 < full < 0.97
    outcome = Surv.from_arrays(world.clinical["os_event"] == 1, world.clinical["os_days"])
    concordance = CoxPHSurvivalAnalysis().fit(factors[:1000], outcome[:1000]).score(factors[1000:], outcome[1000:])
    assert 0.7 < concordance < 0.85
    for group in ("shared", "slide", "rna"):
        rest = factors[[c for c in factors if not c.startswith(group)]]
        assert cross_val_score(LogisticRegression(), rest, label, cv=5, scoring="roc_auc").mean() < full - 0.03


def test_counts_show_shared_and_rna_factors_and_not_the_slides_own():
    world = draw_world(300, 400, 2)
    logs = np.log1p(world.counts.to_numpy().T)

    def r2(name):
        modules = [list(world.counts.index).index(g) for m in world.modules.values() for g in m]
        scores = cross_val_predict(LinearRegression(), logs[:, modules[::2]], world.factors[name], cv=5)
        return np.corrcoef(scores, world.factors[name])[0, 1]

    assert r2("shared_0") > 0.8 and r2("rna_1") > 0.8
    assert abs(r2("slide_0")) < 0.25


def test_factors_change_the_picture():
    def stained(**factors):
        base = {f"{g}_{i}": 0.0 for g in ("shared", "slide", "rna") for i in range(4)}
        return render_region({**base, **factors}, 1024, np.random.default_rng(0)).astype(float)

    dark = lambda image: (image[..., 0] < 120).mean()  # noqa: E731  nuclei
    white = lambda image: (image.min(2) > 225).mean()  # noqa: E731  glass and lumina
    assert dark(stained(shared_0=2)) > 1.5 * dark(stained(shared_0=-2))
    assert dark(stained(shared_1=2)) > 1.3 * dark(stained(shared_1=-2))
    assert white(stained(slide_2=2)) > white(stained(slide_2=-2)) + 0.01
    assert stained(slide_0=2)[..., 1].mean() < stained(slide_0=-2)[..., 1].mean() - 5
    assert np.array_equal(stained(rna_0=2), stained(rna_0=-2)), "the slide must not know the RNA's own factors"


def test_slides_open_in_openslide(tmp_path):
    image = render_region(
        {f"{g}_{i}": 0.0 for g in ("shared", "slide") for i in range(4)}, 1536, np.random.default_rng(1)
    )
    write_slide(tmp_path / "s.svs", image)
    with openslide.OpenSlide(tmp_path / "s.svs") as slide:
        assert slide.dimensions == (1536, 1536)
        assert slide.level_count == 3
        assert float(slide.properties["openslide.mpp-x"]) == 0.25
        assert slide.properties["openslide.vendor"] == "aperio"
        got = np.asarray(slide.read_region((0, 0), 0, (1536, 1536)).convert("RGB"), float)
    assert np.abs(got - image).mean() < 4


def test_cohort_is_written_and_a_second_run_keeps_the_slides(tmp_path):
    settings = SimulateSettings(patients=12, slide_px=1024, genes=100, seed=5)
    write_cohort(tmp_path, settings, threads=1)
    table = pd.read_csv(tmp_path / "samples.tsv", sep="\t")
    files = sorted((tmp_path / "slides").iterdir())
    assert len(files) == len(table) == 14
    stamps = [f.stat().st_mtime_ns for f in files]
    files[3].unlink()
    write_cohort(tmp_path, settings, threads=1)
    assert [f.stat().st_mtime_ns for i, f in enumerate(files) if i != 3] == [s for i, s in enumerate(stamps) if i != 3]
    assert files[3].exists()
