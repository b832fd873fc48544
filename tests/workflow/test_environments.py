"""The conda environments are true: each has what its rules' scripts import, with the pins of requirements.txt."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from environments import TORCH, packages, pinned, render
from mirror.plan import environments
from mirror.plan.registry import find_baselines
from rules import ROOT, RULES

ENVS = sorted((ROOT / "envs").glob("*.yaml"))
BARE = ROOT / "tests" / "support" / "bare.py"


def stem(path: Path) -> str:
    """Name of a test."""
    return path.stem


def test_rule_files_are_read():
    assert {"tile_slides", "pretrain_mirror", "compute_metrics"} <= set(RULES)
    assert len(RULES) > 40


@pytest.mark.parametrize("rule", sorted(RULES))
def test_scripts_run_behind_snakemakes_preamble(rule):
    """Snakemake puts lines before a script; an import from __future__ would no longer be the first."""
    script, envs = RULES[rule]
    assert envs and all(env.is_file() for env in envs), f"{rule} has no environment"
    compile("import sys\n" + script.read_text(), str(script), "exec")


@pytest.mark.parametrize("env", ENVS, ids=stem)
def test_pins_are_those_of_requirements(env):
    text = yaml.safe_load(env.read_text())
    assert text["channels"] == ["conda-forge", "nodefaults"]
    assert text["dependencies"][:2] == ["python=3.11", "pip"], "these alone come from a channel"
    assert len(text["dependencies"]) == 3
    pins = set(pinned().values())
    assert len(packages(env)) == len(set(packages(env))) > 5
    assert not [line for line in packages(env) if line not in pins]


@pytest.mark.skipif(sys.platform != "linux", reason="what a package needs depends on the platform")
@pytest.mark.parametrize("env", ENVS, ids=stem)
def test_an_environment_has_what_its_scripts_import_and_no_more(env):
    assert any(env in envs for _, envs in RULES.values()), f"{env.name} is used by no rule"
    assert env.read_text() == render(env), "run `make schema`"


@pytest.mark.parametrize("env", ENVS, ids=stem)
def test_scripts_import_in_an_environment_of_these_packages_alone(env):
    """Every other package that is installed here is hidden from the interpreter."""
    scripts = sorted({str(script) for script, envs in RULES.values() if env in envs})
    done = subprocess.run(
        [sys.executable, str(BARE), str(env), *scripts],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {}


def test_hidden_packages_are_hidden(tmp_path):
    (tmp_path / "wants.py").write_text("import numpy\nimport scanpy\n")
    (tmp_path / "env.yaml").write_text(yaml.safe_dump({"dependencies": [{"pip": ["numpy==1"]}]}))
    done = subprocess.run(
        [sys.executable, str(BARE), str(tmp_path / "env.yaml"), str(tmp_path / "wants.py")],
        capture_output=True,
        text=True,
    )
    assert "No module named 'scanpy'" in json.loads(done.stdout)["wants.py"]


def test_torch_is_where_networks_run():
    with_torch = {env.stem for env in ENVS if any(line.startswith("torch==") for line in packages(env))}
    assert with_torch == set(TORCH)
    chosen = {name for names in environments.CHOICES.values() for name in names}
    assert chosen <= {env.stem for env in ENVS}


def test_settings_that_need_torch_choose_an_environment_that_has_it():
    assert environments.tiling({"tissue": {"method": "default"}}) == "slides"
    assert environments.tiling({"tissue": {"method": "torchscript"}}) == "embed"
    assert environments.tiling({"tissue": {"method": "safetensors"}}) == "embed"
    assert environments.importing({"format": "trident"}) == "slides"
    assert environments.importing({"format": "stamp"}) == "slides"
    assert environments.importing({"format": "clam"}) == environments.importing({"format": "pt"}) == "embed"
    assert environments.probing({"probe": {"solver": "lbfgs"}}) == "evaluate"
    assert environments.probing({"probe": {"solver": "adam"}}) == "train"
    assert environments.probing({"probe": {"solver": "lbfgs"}}, network=True) == "train"


def test_baselines_say_whether_they_train_a_network():
    baselines = find_baselines()
    assert {name for name, entry in baselines.items() if entry.network} >= {"abmil", "transmil"}
    for name, entry in baselines.items():
        own = [node for node in ast.parse(entry.file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        says = any("torch" in (getattr(n, "module", None) or "") or "torch" in {a.name for a in n.names} for n in own)
        assert entry.network is says, f"{name}: `network=` in its decorator and its imports differ"
