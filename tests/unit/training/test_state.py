"""The training state: resumed exactly, ignored when broken or foreign."""

from __future__ import annotations

import errno
import logging
import pickle
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mirror.training import loop
from mirror.training.loop import pretrain
from mirror.training.resume import StateStore
from training_world import in_memory, settings

EVERY_STEP = {"save_minutes": 1e-9}


class Stop(Exception):
    """Stands for a kill."""


def run(out: Path, chosen, seed: int = 42) -> dict[str, torch.Tensor]:
    pretrain(in_memory(), chosen, seed, out / "m.safetensors", out / "m.tsv", out / "state")
    return load_file(out / "m.safetensors")


def interrupt(monkeypatch: pytest.MonkeyPatch, out: Path, chosen, after: int, seed: int = 42) -> None:
    """Run, and stop before update number ``after``."""
    with monkeypatch.context() as patch:
        calls = iter(range(10**6))
        update = loop._Run._update

        def stop(self, *args) -> None:
            if next(calls) == after:
                raise Stop
            update(self, *args)

        patch.setattr(loop._Run, "_update", stop)
        with pytest.raises(Stop):
            run(out, chosen, seed)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


VARIANTS = {
    "published": {"train": EVERY_STEP},
    "all options": {
        "train": {**EVERY_STEP, "accumulate": 2, "ema": 0.9, "clip_norm": 1.0, "schedule": "cosine", "batch_size": 2},
        "retention": {"target": "input", "decode_from": "embedding"},
    },
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("after", [1, 4, 8])
def test_an_interrupted_run_ends_with_the_same_weights_and_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, after: int
) -> None:
    chosen = settings(**VARIANTS[name])
    whole = run(tmp_path / "whole", chosen)
    interrupt(monkeypatch, tmp_path / "cut", chosen, after)
    with caplog.at_level(logging.INFO):
        resumed = run(tmp_path / "cut", chosen)
    assert "Going on from" in caplog.text
    assert same(whole, resumed)
    logs = [pd.read_csv(tmp_path / d / "m.tsv", sep="\t").drop(columns="seconds") for d in ("whole", "cut")]
    pd.testing.assert_frame_equal(*logs)


def test_a_state_of_another_configuration_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, other = settings(train=EVERY_STEP), settings(train={**EVERY_STEP, "lr": 2e-3})
    whole = run(tmp_path / "whole", chosen)
    interrupt(monkeypatch, tmp_path / "cut", other, 3)
    interrupt(monkeypatch, tmp_path / "cut", chosen, 3, seed=7)
    left = list((tmp_path / "cut" / "state").iterdir())
    assert len(left) == 2, "a folder a configuration"
    assert same(whole, run(tmp_path / "cut", chosen))
    assert not (tmp_path / "cut" / "state").exists(), "stale states go with the success of the run"
    # Even under the right name, a state says whose it is.
    store = StateStore(tmp_path / "s", "m", "0" * 16, 1.0)
    store.save({"epoch": 1})
    assert store.load() is not None
    store.key = "1" * 16
    assert store.load() is None


@pytest.mark.parametrize("damage", ["cut", "zeros", "text", "empty", "dot"])
def test_a_broken_state_is_reported_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    chosen = settings(train=EVERY_STEP)
    whole = run(tmp_path / "whole", chosen)
    interrupt(monkeypatch, tmp_path / "cut", chosen, 4)
    path = next((tmp_path / "cut" / "state").glob("*/state.pt"))
    content = path.read_bytes()
    half = content[: len(content) // 2]
    zeros = bytes(len(content))
    path.write_bytes({"cut": half, "zeros": zeros, "text": b"hello", "empty": b"", "dot": b"."}[damage])
    resumed = run(tmp_path / "cut", chosen)
    assert "cannot be used and training starts anew" in caplog.text and str(path) in caplog.text
    assert same(whole, resumed)


class Hostile:
    def __reduce__(self):
        return (Path.write_text, (Path("hostile_ran"), "x"))


@pytest.mark.fault(
    stage="security",
    fault="a training state that is a pickle that would run code",
    sees="that it cannot be used and training starts anew",
    survives="no code is run",
)
def test_a_state_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    store = StateStore(tmp_path, "m", "0" * 16, 1.0)
    store.folder.mkdir()
    torch.save({"key": store.key, "version": 1, "x": Hostile()}, store.path)
    assert store.load() is None and "cannot be used" in caplog.text
    store.path.write_bytes(pickle.dumps(Hostile()))
    assert store.load() is None
    assert not Path("hostile_ran").exists()


def test_a_full_disk_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mirror.training.resume.torch.save", full)
        kept = run(tmp_path / "a", settings(train=EVERY_STEP))
    assert "could not be saved" in caplog.text
    assert same(kept, run(tmp_path / "b", settings(train=EVERY_STEP)))


def test_states_are_saved_as_often_as_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("mirror.training.resume.time.monotonic", lambda: now[0])
    store = StateStore(tmp_path, "m", "0" * 16, save_minutes=5.0)
    assert store.due(epoch_end=True) and not store.due(epoch_end=False)
    now[0] = 300.0
    assert store.due(epoch_end=False)

    def slow(state: object, path: Path) -> None:
        now[0] += 10.0
        Path(path).write_bytes(b"x")

    monkeypatch.setattr("mirror.training.resume.torch.save", slow)
    store.save({})
    now[0] += 100.0
    assert not store.due(epoch_end=True), "saving may take a twentieth of the time"
    now[0] += 101.0
    assert store.due(epoch_end=True)


def test_clearing_touches_no_other_run(tmp_path: Path) -> None:
    mine, other = StateStore(tmp_path, "r0f1", "0" * 16, 1.0), StateStore(tmp_path, "r0f10", "0" * 16, 1.0)
    for store in (mine, other, StateStore(tmp_path, "r0f1", "2" * 16, 1.0)):
        store.save({"epoch": 0})
    (tmp_path / "r0f1-notes").mkdir()
    mine.clear()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r0f1-notes", f"r0f10-{'0' * 16}"]
