"""Faults planted in pre-training and encoding: what the user sees, and what survives."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mirror.core.errors import InputError
from mirror.dataset.paired import load_paired
from mirror.inference.encode import encode
from mirror.training.launch import Job, run_job
from training_world import LIBRARY, elsewhere, on_disk, settings, start
from workflow_run import random_moments

LONG = {"epochs": 25, "save_minutes": 1e-9}


def kill_once(job: Job, folder: Path, rng: random.Random) -> bool:
    """Start the job and kill -9 it at a random moment of its training; False where it was over before that."""
    process = start(job, folder)
    begun = time.monotonic()
    before = {p: p.stat().st_mtime_ns for p in Path(job.state_dir).glob("*/state.pt")}
    while process.poll() is None and time.monotonic() - begun < 120:
        now = {p: p.stat().st_mtime_ns for p in Path(job.state_dir).glob("*/state.pt")}
        if now and now != before:
            break
        time.sleep(0.005)
    time.sleep(rng.random() * 0.3)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def kill_and_compare(tmp_path: Path, kills: int, caplog: pytest.LogCaptureFixture) -> None:
    """Processes killed at random moments, finished in this one, against a run in this process alone."""
    rng = random_moments()
    job = on_disk(tmp_path / "data", train=LONG)
    whole, cut = elsewhere(job, tmp_path / "whole"), elsewhere(job, tmp_path / "cut")
    run_job(whole)
    killed = sum(kill_once(cut, tmp_path / "cut", rng) for _ in range(kills) if not Path(cut.checkpoint).exists())
    assert killed >= 1
    with caplog.at_level(logging.INFO):
        run_job(cut)
    assert "Going on from" in caplog.text
    assert Path(cut.checkpoint).read_bytes() == Path(whole.checkpoint).read_bytes()
    logs = [pd.read_csv(j.log, sep="\t").drop(columns="seconds") for j in (whole, cut)]
    pd.testing.assert_frame_equal(*logs)
    assert not Path(cut.state_dir).exists() and not list((tmp_path / "cut").glob(".*part*"))


@pytest.mark.fault(
    stage="processes",
    fault="kill -9 while training, twice",
    sees="the job failed; then: going on from epoch n",
    survives="the state; the checkpoint is byte for byte that of an undisturbed run",
)
def test_kill_9_while_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kill_and_compare(tmp_path, 2, caplog)


@pytest.mark.fault(
    stage="processes", fault="kill -9 while training, twenty times", sees="as above", survives="as above"
)
@pytest.mark.faults_long
@pytest.mark.slow
@pytest.mark.parametrize("repeat", range(10))
def test_twenty_kills_while_training(tmp_path: Path, caplog: pytest.LogCaptureFixture, repeat: int) -> None:
    kill_and_compare(tmp_path, 2, caplog)


@pytest.mark.fault(
    stage="training",
    fault="NaN in a slide's features",
    sees="the slide, its file, epoch and step",
    survives="no checkpoint is written",
)
def test_a_nan_feature_names_its_slide(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    path = Path(job.features_dir) / "S03a.h5"
    with h5py.File(path, "r+") as file:
        file["features"][:, 5] = np.nan
    with pytest.raises(InputError, match=r"S03a\.h5 \(slide S03a\): the loss of epoch 1, step \d is not finite: .*NaN"):
        run_job(job)
    assert not Path(job.checkpoint).exists() and not Path(job.log).exists()


@pytest.mark.fault(
    stage="training",
    fault="a feature beyond float range",
    sees="the slide and its file",
    survives="no checkpoint is written",
)
def test_a_feature_too_large_names_its_slide(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    with h5py.File(Path(job.features_dir) / "S03a.h5", "r+") as file:
        file["features"][:] = 3e38
    with pytest.raises(InputError, match=r"slide S03a\): the loss of epoch 1, step \d is not finite: its embedding"):
        run_job(job)


@pytest.mark.fault(
    stage="training",
    fault="a learning rate too high",
    sees="the loss is not finite, with epoch and step",
    survives="no checkpoint is written",
)
def test_a_learning_rate_too_high_is_told_from_bad_input(tmp_path: Path) -> None:
    job = on_disk(tmp_path, train={"lr": 1e30})
    with pytest.raises(InputError, match=r"the loss of epoch 1, step \d is not finite.*"):
        run_job(job)


@pytest.mark.fault(
    stage="training",
    fault="a feature file deleted",
    sees="the slide, before the first step",
    survives="everything else",
)
def test_a_missing_feature_file_is_named_before_training(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    (Path(job.features_dir) / "S03a.h5").unlink()
    with pytest.raises(InputError, match=r"S03a\.h5 \(slide S03a\): the patch features are missing"):
        run_job(job)


@pytest.mark.fault(
    stage="training", fault="a feature file cut, empty or text", sees="the file", survives="everything else"
)
@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_corrupt_feature_file_is_named(tmp_path: Path, damage: str) -> None:
    job = on_disk(tmp_path)
    path = Path(job.features_dir) / "S03a.h5"
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 3], "empty": b"", "text": b"no HDF5 at all"}[damage])
    with pytest.raises(InputError, match=r"S03a\.h5"):
        run_job(job)
    assert not Path(job.checkpoint).exists()


@pytest.mark.fault(
    stage="training",
    fault="features of another encoder among the rest",
    sees="the slide and both widths",
    survives="everything else",
)
def test_a_feature_file_of_another_encoder_is_named(tmp_path: Path) -> None:
    from mirror.io.features import write_features

    job = on_disk(tmp_path)
    path = Path(job.features_dir) / "S03a.h5"
    write_features(path, np.zeros((9, 7)), np.zeros((9, 2), int), encoder="other")
    with pytest.raises(InputError, match=r"S03a\.h5 \(slide S03a\): features 7 wide, where the other slides have 12"):
        run_job(job)


@pytest.mark.fault(
    stage="training",
    fault="a corrupt training state",
    sees="that it cannot be used and training starts anew",
    survives="the result",
)
def test_a_corrupt_state_is_left_out_with_a_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = on_disk(tmp_path / "data", train=LONG)
    whole, cut = elsewhere(job, tmp_path / "whole"), elsewhere(job, tmp_path / "cut")
    run_job(whole)
    assert kill_once(cut, tmp_path / "cut", random.Random(0))
    state = next(Path(cut.state_dir).glob("*/state.pt"))
    state.write_bytes(state.read_bytes()[:-2000])
    run_job(cut)
    assert "the training state cannot be used and training starts anew" in caplog.text
    assert Path(cut.checkpoint).read_bytes() == Path(whole.checkpoint).read_bytes()


def load(job: Job):
    names = ("patients", "slides", "splits", "fold", "expression", "transform", "features_dir")
    return load_paired(**{name: getattr(job, name) for name in names})


@pytest.mark.fault(
    stage="checkpoints",
    fault="a checkpoint from another config",
    sees="the keys that differ",
    survives="it is not used",
)
def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    run_job(job)
    other = settings(style={"style_weight": 0.3})
    with pytest.raises(InputError, match=r"another configuration \(style\.style_weight\)"):
        encode(job.checkpoint, load(job), settings=other)


@pytest.mark.fault(
    stage="checkpoints",
    fault="a checkpoint cut by a crash",
    sees="the checkpoint cannot be read",
    survives="it is not used",
)
def test_a_checkpoint_cut_by_a_crash_is_refused(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    run_job(job)
    path = Path(job.checkpoint)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="the checkpoint cannot be read"):
        encode(path, load(job))


@pytest.mark.fault(
    stage="checkpoints",
    fault="a pickle that would run code",
    sees="the checkpoint cannot be read",
    survives="no code is run",
)
def test_a_pickle_in_place_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    job = on_disk(tmp_path)
    torch.save({"model": torch.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(InputError, match="the checkpoint cannot be read"):
        encode(tmp_path / "m.safetensors", load(job))


@pytest.mark.fault(stage="config", fault="an unknown training setting", sees="its name", survives="nothing starts")
def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    from pydantic import ValidationError

    job = on_disk(tmp_path)
    job = replace(job, settings={**job.settings, "trian": {"epochs": 1}})
    with pytest.raises(ValidationError, match="trian"):
        run_job(job)


@pytest.mark.fault(
    stage="disk",
    fault="a read-only folder at the end of training",
    sees="permission denied, with the path",
    survives="no half checkpoint; the training state, from which the next attempt goes on",
)
def test_a_read_only_folder_leaves_no_half_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = on_disk(tmp_path)

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(args[1]))

    monkeypatch.setattr("mirror.io.checkpoints.save_file", refuse)
    with pytest.raises(PermissionError):
        run_job(job)
    assert not Path(job.checkpoint).exists() and not list(Path(job.checkpoint).parent.glob(".*part*"))
    assert list(Path(job.state_dir).glob("*/state.pt")), "what was trained is kept for the next attempt"
    monkeypatch.undo()
    run_job(job)
    again = elsewhere(job, tmp_path / "again")
    run_job(again)
    a, b = load_file(job.checkpoint), load_file(again.checkpoint)
    assert all(torch.equal(a[k], b[k]) for k in b)


@pytest.mark.fault(
    stage="processes", fault="a clock that jumps while training", sees="nothing", survives="the same checkpoint"
)
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = on_disk(tmp_path)
    run_job(job)
    times = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(times)))
    again = elsewhere(job, tmp_path / "again")
    run_job(again)
    assert Path(again.checkpoint).read_bytes() == Path(job.checkpoint).read_bytes()


@pytest.mark.fault(
    stage="processes", fault="two trainings of one model at once", sees="nothing", survives="one whole checkpoint"
)
def test_two_runs_in_one_folder_end_alike(tmp_path: Path) -> None:
    job = on_disk(tmp_path / "data", train={"epochs": 8, "save_minutes": 1e-9})
    alone, shared = elsewhere(job, tmp_path / "alone"), elsewhere(job, tmp_path / "shared")
    both = [start(shared, tmp_path / "shared"), start(shared, tmp_path / "shared")]
    run_job(alone)
    assert [p.wait(timeout=300) for p in both] == [0, 0], (tmp_path / "shared" / "stderr.txt").read_text()[-2000:]
    assert Path(shared.checkpoint).read_bytes() == Path(alone.checkpoint).read_bytes()


@pytest.mark.fault(
    stage="processes",
    fault="a job killed that trains on several GPUs",
    sees="the job failed",
    survives="no process stays on a GPU",
)
def test_a_killed_job_leaves_no_torchrun_behind(tmp_path: Path) -> None:
    code = (
        "import subprocess\nfrom mirror.training.launch import _end_with_parent\n"
        "child = subprocess.Popen(['sleep', '300'], preexec_fn=_end_with_parent)\n"
        "print(child.pid, flush=True)\nchild.wait()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()

    def running() -> bool:
        try:
            return Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    end = time.monotonic() + 20
    while running() and time.monotonic() < end:
        time.sleep(0.05)
    assert not running()
