"""The conda environments are true: each declares what its rules' scripts import, with the pins of requirements.txt."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import yaml

from mirror.core.code_hash import imported_files
from mirror.plan.registry import find_baselines
from rules import ROOT, RULES

# Import name -> package on conda-forge, where they differ.
CONDA = {
    "PIL": "pillow",
    "cv2": "opencv",
    "jinja2": "jinja2",
    "sklearn": "scikit-learn",
    "sksurv": "scikit-survival",
    "torch": "pytorch",
    "umap": "umap-learn",
    "yaml": "pyyaml",
    "openslide": "openslide-python",
    "huggingface_hub": "huggingface_hub",
}
# Import name -> package on PyPI, where they differ.
PYPI = {**CONDA, "cv2": "opencv-python-headless", "torch": "torch"}
# Needed behind an import: the library of openslide-python, the JPEG codec of tifffile, parquet for pandas.
BEHIND = {"openslide", "imagecodecs", "pyarrow"}


def third_party(script: Path) -> set[str]:
    """Top-level packages that a script imports, directly or through the library."""
    found = set()
    files = imported_files(script)
    if script.stem == "evaluate_baseline":  # finds its baselines by name
        files |= {file for entry in find_baselines().values() for file in imported_files(entry.file)}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"mirror"}


def declared(env: Path) -> dict[str, str]:
    """Package -> version of an environment file."""
    out = {}
    for line in yaml.safe_load(env.read_text())["dependencies"]:
        assert isinstance(line, str), f"{env.name}: pip sections are not reproducible"
        name, _, version = line.partition("=")
        out[name.split("::")[-1]] = version
    return out


def pinned() -> dict[str, str]:
    """Package -> version of requirements.txt, names in lower case with dashes."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def test_rule_files_are_read():
    assert {"tile_slides", "pretrain_mirror", "compute_metrics"} <= set(RULES)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_scripts_run_behind_snakemakes_preamble(rule):
    """Snakemake puts lines before a script; an import from __future__ would no longer be the first."""
    script, _ = RULES[rule]
    compile("import sys\n" + script.read_text(), str(script), "exec")


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_import_is_declared(rule):
    script, env = RULES[rule]
    assert script.is_file(), f"{rule}: {script} does not exist"
    assert env and env.is_file(), f"{rule} has no environment"
    needed = {CONDA.get(name, name) for name in third_party(script)}
    assert not needed - set(declared(env)), f"{env.name} lacks what {script.name} imports"


@pytest.mark.parametrize("env", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda p: p.stem)
def test_environment_is_minimal_pinned_and_agrees(env):
    text = yaml.safe_load(env.read_text())
    assert text["channels"] == ["conda-forge", "nodefaults"]
    scripts = [script for script, e in RULES.values() if e and e.resolve() == env.resolve()]
    assert scripts, f"{env.name} is used by no rule"
    used = {CONDA.get(name, name) for script in scripts for name in third_party(script)}
    packages = declared(env)
    assert not set(packages) - used - BEHIND - {"python"}, "declared and not imported"
    pins = pinned()
    back = {conda: pypi for name, conda in CONDA.items() for pypi in [PYPI[name]]}
    for name, version in packages.items():
        if name in ("python", "openslide"):
            continue
        pin = pins[back.get(name, name).lower().replace("_", "-")]
        assert version and (pin == version or pin.startswith(version + ".")), f"{name}: {version} here, {pin} pinned"
