"""Parity with the reference, through `check_golden.py` as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import check_golden  # noqa: E402

from mirror.model import attention  # noqa: E402

GOLDEN = HERE.parent / "data" / "mirror_small.safetensors"


def check(path: Path) -> subprocess.CompletedProcess[str]:
    """Run the check in its own process."""
    command = [sys.executable, str(HERE / "check_golden.py"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_golden_file_is_reproduced():
    done = check(GOLDEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "PASS"
    assert "106 compared" in done.stdout


@pytest.mark.parametrize(
    "name", ["output.wsi_retention", "loss.cluster", "grad_norm.style_mu.weight", "nll.loss_alpha0.4"]
)
def test_a_changed_number_fails(tmp_path, capsys, name):
    with safe_open(GOLDEN, "pt") as handle:
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        metadata = handle.metadata()
    tensors[name] = tensors[name] + 2e-4 * tensors[name].abs().max()
    save_file(tensors, tmp_path / "changed.safetensors", metadata)
    assert check_golden.main(tmp_path / "changed.safetensors") == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("FAIL")


def test_golden_file_through_the_cpu_kernel(monkeypatch):
    """The fast attention reproduces the file too, though its size would not call for it."""
    monkeypatch.setattr(attention, "SMALLEST_SPECTRAL", 2)
    differences = check_golden.compare(GOLDEN)
    assert max(value for group in differences.values() for value in group.values()) <= 1e-4
