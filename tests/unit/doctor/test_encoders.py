"""Encoders in the doctor: licence, weights, and an answer within seconds where the hub gives none."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from mirror.doctor import check_encoders, check_machine
from mirror.encoders.table import read_encoders
from rules import ROOT

TABLE = {name: row.model_dump() for name, row in read_encoders(ROOT / "config" / "encoders.yaml").items()}


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


def test_weights_of_a_package_and_random_ones():
    trained, random = check_encoders([TABLE["efficientnet-lite0"], TABLE["demo-random"]], {})
    assert trained.state == "ok" and "licence Apache-2.0" in trained.detail
    assert random.state == "warning" and random.remedy


def test_a_silent_hub_is_asked_once_and_not_for_long(no_cache, monkeypatch: pytest.MonkeyPatch):
    listener = socket.create_server(("127.0.0.1", 0))  # takes connections and never answers
    asked = []
    listener.settimeout(60)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
    import mirror.doctor.encoders as module

    look = module.look_at_hub
    monkeypatch.setattr(module, "look_at_hub", lambda row: (asked.append(row.name), look(row, timeout=1.0))[1])
    started = time.monotonic()
    found = list(check_encoders([TABLE["phikon"], TABLE["uni2-h"]], {}))
    assert time.monotonic() - started < 8
    assert asked == ["phikon"]
    assert {f.state for f in found} == {"problem"}
    assert all("the hub cannot be reached" in f.detail and "fetch_weights" in f.remedy for f in found)
    assert "gated" in found[1].detail
    listener.close()


def test_offline_is_believed(no_cache, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (found,) = check_encoders([TABLE["phikon"]], {})
    assert found.state == "problem" and "HF_HUB_OFFLINE is set" in found.detail


def test_a_local_checkpoint_that_is_missing(tmp_path: Path):
    (found,) = check_encoders([TABLE["phikon"]], {"phikon": str(tmp_path / "none")})
    assert found.state == "problem" and found.remedy == "correct embed: weights"


def test_machine_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MIRROR_FAKE_GPUS", "0")
    (found,) = check_machine(tmp_path / "results")
    assert found.state == "warning" and found.remedy
