"""Import scripts as if only an environment's packages were installed: ``python bare.py envs/rna.yaml a.py b.py``."""

from __future__ import annotations

import json
import runpy
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

import yaml
from packaging.utils import canonicalize_name


class OnlyThese:
    """Find modules on the path, but for those of packages that an environment does not have."""

    def __init__(self, allowed: set[str]) -> None:
        self.owners = metadata.packages_distributions()
        self.allowed = allowed
        self.find_distributions = PathFinder.find_distributions

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """As `PathFinder`, which this takes the place of."""
        owners = {canonicalize_name(owner) for owner in self.owners.get(name.split(".")[0], [])}
        return None if owners and not owners & self.allowed else PathFinder.find_spec(name, path)


def main(env: Path, scripts: list[Path]) -> dict[str, str]:
    """Script to the first line of what stopped it; the good ones are left out."""
    pip = next(p["pip"] for p in yaml.safe_load(env.read_text())["dependencies"] if isinstance(p, dict))
    finder = OnlyThese({canonicalize_name(line.split("==")[0]) for line in pip})
    sys.meta_path[:] = [finder if each is PathFinder else each for each in sys.meta_path]
    for module in [m for m in sys.modules if m.split(".")[0] in ("yaml", "_yaml", "packaging")]:
        del sys.modules[module]
    failed = {}
    for script in scripts:
        sys.path.append(str(script.parent))  # as Snakemake does
        try:
            runpy.run_path(str(script))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            failed[script.name] = f"{error} ({Path(where.filename).name}:{where.lineno})"
    return failed


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])))
