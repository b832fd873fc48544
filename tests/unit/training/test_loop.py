"""The loop: what is trained on, what is logged, and that it repeats."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mirror.config.pretrain import PretrainSettings
from mirror.config.variants import read_presets, variant_settings
from mirror.core.errors import InputError
from mirror.dataset.paired import PairedData
from mirror.io.checkpoints import load_checkpoint
from mirror.model.mirror import Mirror
from mirror.training import loop
from mirror.training.loop import pretrain
from mirror.training.step import Average, TrainStep, learning_rate
from training_world import arrays, in_memory, settings

PRESETS = read_presets(Path(__file__).resolve().parents[3] / "config" / "variants.yaml")
PLUS = {"retention": {"target": "input", "decode_from": "embedding"}, "alignment": {"mask_same_patient": True}}


def train(data: PairedData, chosen: PretrainSettings, out: Path, seed: int = 42) -> tuple[dict, pd.DataFrame]:
    pretrain(data, chosen, seed, out / "m.safetensors", out / "m.tsv", out / "state", variant="v")
    return load_file(out / "m.safetensors"), pd.read_csv(out / "m.tsv", sep="\t")


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_writes_a_checkpoint_and_a_full_log(tmp_path: Path) -> None:
    data, chosen = in_memory(), settings()
    _, log = train(data, chosen, tmp_path)
    found = load_checkpoint(tmp_path / "m.safetensors", settings=chosen, genes=data.genes, feature_width=12)
    train_patients, test_patients = set(data.members("train")), set(data.members("test"))
    assert set(found.patients) | set(found.validation_patients) == train_patients
    assert not set(found.patients) & set(found.validation_patients) and not test_patients & set(found.patients)
    assert len(found.validation_patients) == 1 and found.variant == "v" and found.seed == 42
    assert log["split"].tolist() == ["train", "validation"] * 3
    terms = ["total", "alignment", "slide_retention", "rna_retention", "style", "cluster"]
    both = [*terms, "logit_scale", "var_wsi", "var_rna", "spread_wsi", "spread_rna"]
    validation = log[log["split"] == "validation"]
    assert np.isfinite(log.loc[log["split"] == "train", both]).all().all()
    assert validation["total"].isna().all(), "one pair: no number rather than a perfect one"
    assert log.loc[log["split"] == "train", ["lr", "grad_norm"]].notna().all().all()
    assert not (tmp_path / "state").exists(), "the training state is removed upon success"


def test_several_validation_pairs_are_measured(tmp_path: Path) -> None:
    _, log = train(in_memory(40), settings(), tmp_path)
    validation = log[log["split"] == "validation"]
    assert np.isfinite(validation[["total", "alignment", "var_wsi"]]).all().all()
    for k in (1, 5, 10):
        assert validation[[f"recall_at_{k}_slide_to_rna", f"recall_at_{k}_rna_to_slide"]].notna().all().all()


@pytest.mark.parametrize("changes", [{}, PLUS, {"train": {"accumulate": 2, "ema": 0.9, "clip_norm": 0.5}}])
def test_the_same_seed_gives_the_same_weights(tmp_path: Path, changes: dict) -> None:
    first, _ = train(in_memory(), settings(**changes), tmp_path / "a")
    again, _ = train(in_memory(), settings(**changes), tmp_path / "b")
    other, _ = train(in_memory(), settings(**changes), tmp_path / "c", seed=43)
    assert same(first, again) and not same(first, other)


def test_neither_test_nor_validation_patients_touch_the_weights(tmp_path: Path) -> None:
    bags, owners, rna, sets = arrays()
    before, _ = train(PairedData.from_arrays(bags, owners, rna, sets), settings(**PLUS), tmp_path / "a")
    validation = PairedData.from_arrays(bags, owners, rna, sets).validation_patients(0.1, 42)
    assert len(validation) == 1
    for patient in [p for p, s in sets.items() if s == "test"] + validation:
        rna[patient] = rna[patient] * 3 + 1
        bags[next(s for s, p in owners.items() if p == patient)] += 5.0
    after, _ = train(PairedData.from_arrays(bags, owners, rna, sets), settings(**PLUS), tmp_path / "b")
    assert same(before, after)


def test_training_learns(tmp_path: Path) -> None:
    chosen = settings(train={"epochs": 25, "lr": 5e-3, "batch_size": 12, "validation_fraction": 0.0})
    _, log = train(in_memory(24), chosen, tmp_path)
    assert (log["split"] == "train").all()
    assert log["alignment"].tail(3).mean() < 0.6 * log["alignment"].head(3).mean()


def test_average_of_weights_is_what_is_written(tmp_path: Path) -> None:
    plain, _ = train(in_memory(), settings(train={"ema": None}), tmp_path / "a")
    averaged, _ = train(in_memory(), settings(train={"ema": 0.99}), tmp_path / "b")
    assert plain.keys() == averaged.keys() and not same(plain, averaged)
    model = torch.nn.Linear(2, 2)
    average = Average(model, 0.5)
    start = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    average.update(model, updates=1000)
    assert torch.allclose(average.model.weight, start + 0.5)


def test_accumulated_steps_update_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    after = Mirror.after_step
    monkeypatch.setattr(Mirror, "after_step", lambda self: (calls.append(1), after(self))[1])
    chosen = settings(train={"epochs": 1, "accumulate": 2, "batch_size": 2, "validation_fraction": 0.0})
    _, log = train(in_memory(), chosen, tmp_path)
    assert len(calls) == 3 and log["n"].tolist() == [12]


def test_the_model_s_constraints_hold_around_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []
    forward = TrainStep.forward

    def look(self: TrainStep, *args: object) -> dict:
        norms.append(self.model.style.prototypes.weight.detach().norm(dim=1))
        return forward(self, *args)

    monkeypatch.setattr(TrainStep, "forward", look)
    weights, _ = train(in_memory(), settings(alignment={"init_temperature": 5.0}), tmp_path)
    assert torch.allclose(torch.cat(norms), torch.ones(1), atol=1e-5)
    assert float(weights["logit_scale"]) >= 0.0, "started at -ln 5, clamped to 0 after each step"


def test_schedule() -> None:
    train_settings = settings(train={"lr": 1.0, "schedule": "cosine", "warmup_epochs": 1.0}).train
    rates = [learning_rate(u, 40, 4, train_settings) for u in range(40)]
    assert rates[:4] == [0.2, 0.4, 0.6, 0.8] and rates[4] == 1.0
    assert all(a > b for a, b in pairwise(rates[4:])) and rates[-1] < 0.01
    constant = settings(train={"lr": 1.0}).train
    assert {learning_rate(u, 40, 4, constant) for u in range(40)} == {1.0}


def test_unpaired_samples_join_retention_only_when_asked(tmp_path: Path) -> None:
    bags, owners, rna, sets = arrays()
    del rna["P00"], rna["P01"]
    bags.pop("S02a"), owners.pop("S02a")
    data = PairedData.from_arrays(bags, owners, rna, sets)
    assert data.unpaired(data.members("train")) == (["S00a", "S01a"], np.array([0]))
    chosen = settings()
    without, _ = train(data, chosen, tmp_path / "a")
    joined, _ = train(data, settings(train={"use_unpaired": True}), tmp_path / "b")
    assert not same(without, joined)
    seen = load_checkpoint(tmp_path / "b" / "m.safetensors").patients
    assert {"P00", "P01", "P02"} <= set(seen)
    assert not {"P00", "P01", "P02"} & set(load_checkpoint(tmp_path / "a" / "m.safetensors").patients)
    align = {"retention": {"slide_weight": 0.0, "rna_weight": 0.0}}
    a, _ = train(data, settings(**align), tmp_path / "c")
    b, _ = train(data, settings(**align, train={"use_unpaired": True}), tmp_path / "d")
    assert same(a, b), "without retention, unpaired samples change nothing"


@pytest.mark.parametrize("variant", PRESETS)
def test_every_variant_takes_unpaired_samples(tmp_path: Path, variant: str) -> None:
    """Slides and RNA alone, in steps of their own kind; TANGLE's retention has nothing to do with RNA alone."""
    bags, owners, rna, sets = arrays()
    del rna["P00"], rna["P01"]
    bags.pop("S02a"), owners.pop("S02a")
    data = PairedData.from_arrays(bags, owners, rna, sets)
    chosen = variant_settings(variant, {"train": {"use_unpaired": True, "epochs": 1}}, settings(), PRESETS)
    weights, log = train(data, chosen, tmp_path)
    trained = log.loc[log["split"] == "train", "total"]
    assert np.isfinite(trained).all() and all(bool(torch.isfinite(w).all()) for w in weights.values())


def test_unpaired_mean_is_over_all_samples() -> None:
    data = in_memory()
    chosen = settings(model={"slide_dropout": 0.0, "rna_dropout": 0.0}, **PLUS)
    torch.manual_seed(0)
    model = loop.build_model(chosen, data.rna.shape[1], data.feature_width)
    step = TrainStep(model, chosen, loop.Group(), torch.float32)
    bags = data.bags.batch(list(data.slides["slide_id"][:6]), 16, 0, 0)
    rna, owner = torch.from_numpy(data.rna[:6]), torch.arange(6)
    every = step(loop.Batch(bags, rna, owner))["slide_retention"]
    split = step(loop.Batch(bags, rna[:4], owner[:4]))
    assert torch.allclose(split["slide_retention"], every, rtol=1e-5)
    weight = chosen.retention.slide_weight
    alone = step(loop.Batch(bags[:4], rna[:4], owner[:4]))
    assert alone["alignment"].item() == pytest.approx(split["alignment"].item(), rel=1e-5)
    extra = weight * (split["slide_retention"] - alone["slide_retention"])
    style = chosen.style.style_weight * (split["style"] - alone["style"])
    cluster = chosen.style.cluster_weight * (split["cluster"] - alone["cluster"])
    assert (split["total"] - alone["total"]).item() == pytest.approx((extra + style + cluster).item(), abs=1e-5)


def test_slides_of_one_patient_are_no_negatives(tmp_path: Path) -> None:
    data = in_memory(12, per_patient=2)
    plain, _ = train(data, settings(), tmp_path / "a")
    masked, _ = train(data, settings(alignment={"mask_same_patient": True}), tmp_path / "b")
    assert not same(plain, masked)
    single = in_memory(12)
    plain, _ = train(single, settings(), tmp_path / "c")
    masked, _ = train(single, settings(alignment={"mask_same_patient": True}), tmp_path / "d")
    assert same(plain, masked), "with one slide per patient the option changes nothing"


def test_input_statistics_are_those_of_the_training_slides(tmp_path: Path) -> None:
    data = in_memory()
    weights, _ = train(data, settings(**PLUS), tmp_path)
    found = load_checkpoint(tmp_path / "m.safetensors")
    slides = data.pairs(found.patients).slides
    drawn = torch.cat([data.bags.bag(s, 16, 42, "statistics") for s in slides])
    assert torch.allclose(weights["patch_statistics.mean"], drawn.mean(0), atol=1e-4)
    assert torch.allclose(weights["patch_statistics.std"], drawn.std(0, correction=0), atol=1e-4)


def test_a_collapse_is_called_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bags, owners, rna, sets = arrays()
    flat = {s: np.ones_like(b) for s, b in bags.items()}
    with caplog.at_level(logging.WARNING):
        train(PairedData.from_arrays(flat, owners, rna, sets), settings(model={"slide_dropout": 0.0}), tmp_path)
    told = [r.message for r in caplog.records if "COLLAPSED" in r.message]
    assert len(told) == 1 and "slide" in told[0]


def test_too_little_data_is_refused(tmp_path: Path) -> None:
    bags, owners, rna, sets = arrays(8)
    few = {p: ("train" if p == "P00" else "test") for p in sets}
    with pytest.raises(InputError, match="1 training pairs"):
        train(PairedData.from_arrays(bags, owners, rna, few), settings(), tmp_path)
    with pytest.raises(InputError, match="needs slides and expression"):
        train(PairedData.from_arrays({}, {}, rna, sets), settings(), tmp_path)


def test_small_models_do_not_depend_on_the_threads_given(tmp_path: Path) -> None:
    outs = []
    for threads in (1, 2):
        out = tmp_path / str(threads)
        pretrain(in_memory(), settings(), 1, out / "m.safetensors", out / "m.tsv", out / "s", threads=threads)
        outs.append(load_file(out / "m.safetensors"))
    assert same(*outs)


def test_settings_that_only_run_do_not_change_the_weights(tmp_path: Path) -> None:
    slow = settings(train={"save_minutes": 1e-6})
    first, _ = train(in_memory(), settings(), tmp_path / "a")
    again, _ = train(replace(in_memory()), slow, tmp_path / "b")
    assert same(first, again)
