"""The plan: figures follow from what was measured; what was not is said to be assumed."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from mirror.config.pretrain import PretrainSettings
from mirror.config.slides import EmbedSettings, SlideSettings
from mirror.doctor.plan import Scale, check_plan
from mirror.doctor.slides import SlideScan
from mirror.encoders.table import read_encoders
from mirror.features.trial import choose_slides, try_slides
from mirror.training.trial import time_steps
from rules import ROOT
from slide_drawing import draw_tissue, write_svs

WORK = {"jobs": {"tiling": 2, "pre-training": 10, "gene selection": 0}, "models": {"C": 10}, "folds": 5}
TRIAL = {
    "slides": [
        {"cohort": "C", "slide_id": "a", "area_mm2": 100.0, "n_tiles": 2000, "seconds": 2.0, "problem": ""},
        {"cohort": "C", "slide_id": "b", "area_mm2": 300.0, "n_tiles": 3000, "seconds": 4.0, "problem": ""},
        {"cohort": "C", "slide_id": "c", "area_mm2": 0.0, "n_tiles": 0, "seconds": 0.0, "problem": "broken"},
    ],
    "encoders": [
        {"encoder": "e", "tiles": 1000, "seconds": 2.0, "device": "NVIDIA H100", "problem": ""},
        {"encoder": "f", "tiles": 0, "seconds": 0.0, "device": "", "problem": "its weights are not on this machine"},
    ],
}
STEPS = [
    {"variant": "m", "seconds": 0.5, "pairs": 16, "megabytes": 50.0, "device": "NVIDIA H100", "problem": ""},
    {"variant": "n", "seconds": 0.0, "pairs": 0, "megabytes": 0.0, "device": "", "problem": "no memory"},
]
VARIANTS = {name: {"train": {"epochs": 100, "batch_size": 16}} for name in "mn"}


def scale() -> Scale:
    scan = SlideScan({f"s{i}": 200.0 for i in range(100)}, {})
    return Scale({"C": 100}, {"C": scan}, {"e": 1000, "f": 500})


def rows(tmp_path: Path, *trials) -> dict[str, str]:
    found = list(check_plan(tmp_path, scale(), WORK, VARIANTS, *trials))
    assert all(f.state == "ok" or f.remedy for f in found)
    return {f.what: f.detail for f in found}


def test_hours_and_disk_follow_from_the_trial(tmp_path: Path):
    said = rows(tmp_path, TRIAL, STEPS)
    tiles = 100 * 200 * 5000 / 400  # area of all slides times tiles per area
    assert said["plan: jobs"] == "12: 2 tiling, 10 pre-training; tables and figures come on top"
    assert f"about {tiles:,.0f} on 100 slides (between 200,000 and 400,000)" in said["plan: tiles"]
    assert said["plan: tiling"].startswith("5 minutes of one core; measured: 3.0 s per slide, mean of 2")
    assert said["plan: features of e"].startswith(f"{tiles / 500 / 60:.0f} minutes on a GPU; measured on NVIDIA H100")
    assert said["plan: features of f"] == (
        f"{tiles / 400 / 60:.0f} minutes on a GPU; assumed: 400 tiles per s; not measured: "
        "its weights are not on this machine"
    )
    hours = 5 * 100 * 5 * (0.5 + 0.2) / 3600  # 5 models each, 100 epochs of 80 / 16 steps
    assert said["plan: pre-training"].startswith(f"{hours * 60:.0f} minutes on a GPU for 10 models of C (100 slides)")
    assert "measured: a training step of m 0.5 s; assumed: 0.2 s per step of n" in said["plan: pre-training"]
    needed = tiles * 1500 * 2.2 + 100 * 0.6e6 + 5 * 50e6 + 5 * 60e6
    assert f"{needed / 1e9:.1f} GB needed" in said["plan: disk"]


def test_without_a_trial_everything_is_said_to_be_assumed(tmp_path: Path):
    said = rows(tmp_path, None, None)
    assert "assumed: 24 per mm2" in said["plan: tiles"] and "plan: tiling" not in said
    assert "assumed" in said["plan: features of e"] and "assumed: 0.2 s per step of m, n" in said["plan: pre-training"]
    assert "measured:" not in "".join(said.values()).replace("not measured:", "")


def test_too_small_a_disk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 10**8))
    (found,) = (f for f in check_plan(tmp_path, scale(), WORK, VARIANTS, TRIAL, STEPS) if f.what == "plan: disk")
    assert found.state == "problem" and "results" in found.remedy


def test_a_small_a_middle_and_a_large_file_are_tried():
    slides = [{"slide_id": str(i), "size": i} for i in range(12, 0, -1)] + [{"slide_id": "gone", "size": None}]
    assert [s["size"] for s in choose_slides(slides)] == [3, 7, 11]
    assert [s["size"] for s in choose_slides(slides[-3:])] == [1, 2]


def test_real_slides_and_encoders_are_tried(tmp_path: Path):
    tissue_svs = write_svs(tmp_path / "disc.svs", draw_tissue())
    (tmp_path / "broken.svs").write_bytes(b"II*\0nothing")
    slides = [
        {"slide_id": "good", "slide_path": str(tissue_svs), "mpp": None, "size": tissue_svs.stat().st_size},
        {"slide_id": "bad", "slide_path": str(tmp_path / "broken.svs"), "mpp": None, "size": 11},
    ]
    table = read_encoders(ROOT / "config" / "encoders.yaml")
    encoders = [table["demo-random"].model_dump(), table["uni2-h"].model_dump()]
    settings = SlideSettings(tile={"size_px": 64})
    trial = try_slides({"C": slides}, encoders, settings, EmbedSettings(device="cpu"), seconds=0.5)
    tried = {slide.slide_id: slide for slide in trial.slides}
    assert "broken.svs" in tried["bad"].problem and not tried["good"].problem
    assert tried["good"].n_tiles > 50 and tried["good"].area_mm2 == pytest.approx((2048 * 0.25e-3) ** 2)
    demo, gated = trial.encoders
    assert demo.tiles > 0 and demo.seconds > 0 and demo.device == "CPU" and not demo.problem
    assert gated.problem == "its weights are not on this machine"


def test_training_steps_are_timed(monkeypatch: pytest.MonkeyPatch):
    small = {"embed_dim": 16, "slide_heads": 2, "landmarks": 4, "rna_heads": 2, "style_dim": 4, "style_hidden": [8, 8],
             "prototypes": 4, "tokens": 8}  # fmt: skip
    given = PretrainSettings.model_validate({"model": small, "train": {"device": "cpu", "batch_size": 8}})
    before = torch.get_rng_state()
    good, bad = time_steps({"a": given.model_dump(), "b": {**given.model_dump(), "train": {
        **given.train.model_dump(), "device": "cuda"}}}, 12, 20, 1)  # fmt: skip
    assert good.seconds > 0 and good.pairs == 8 and good.megabytes > 0 and not good.problem
    assert torch.equal(before, torch.get_rng_state())
    assert (bad.problem and not bad.seconds) or torch.cuda.is_available()
