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
from naive import WEIGHTS, Naive, Sizes, write_golden  # noqa: E402

from mirror.model.attention import slide_attention as attention  # noqa: E402

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


OTHERS = {
    "plain": Sizes(),
    "other depths": Sizes(rna_depth=3, slide_decoder=2, rna_decoder=3, ratio=2.5, seed=1),
    "few tokens": Sizes(N=5, B=2, seed=2),
    "square bag": Sizes(N=64, seed=3),
    "half masked": Sizes(mask=0.5, weights={**WEIGHTS, "style": 0.7, "wsi_retention": 0.4}, seed=4),
    "terms without weight": Sizes(weights={**WEIGHTS, "rna_retention": 0.0, "cluster": 0.0}, seed=5),
    "large weights": Sizes(scale=1.5, B=6, K=300, seed=6),
    "the CPU's own kernel": Sizes(D=192, N=220, width=64, G=120, B=2, seed=7),
}


@pytest.mark.parametrize("name", OTHERS)
def test_files_of_other_sizes_are_reproduced(tmp_path, capsys, name):
    """Against the model written a second time; sizes come from the shapes, masks and weights from the metadata."""
    write_golden(tmp_path / "g.safetensors", OTHERS[name])
    assert check_golden.main(tmp_path / "g.safetensors") == 0, capsys.readouterr().out


@pytest.mark.parametrize("group", ["output.", "loss.", "grad_norm."])
def test_a_file_with_nothing_to_compare_does_not_pass(tmp_path, capsys, group):
    write_golden(tmp_path / "g.safetensors", Sizes(), without=[group])
    assert check_golden.main(tmp_path / "g.safetensors") == 1
    assert "nothing shows that they agree" in capsys.readouterr().out


def test_the_naive_model_is_the_references(tmp_path):
    """Given the golden file's parameters and draws, the second writing gives its figures too."""
    with safe_open(GOLDEN, "pt") as handle:
        golden = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    p = check_golden.group(golden, "param")
    (batch, n, width), dim = golden["input.wsi"].shape, p["wsi_encoder.cls_token"].shape[-1]
    model = Naive(p, Sizes(D=dim, N=n, width=width, B=batch))
    tokens, vector = model.slide(golden["input.wsi"]), model.rna(golden["input.rna"])
    assert check_golden.difference(tokens[:, 1:], golden["output.wsi_retention_target"]) <= 1e-4
    assert check_golden.difference(vector, golden["output.rna_retention_target"]) <= 1e-4
