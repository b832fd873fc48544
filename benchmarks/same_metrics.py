"""Are the metrics of two commits the same, byte for byte?

Runs the workflow of both commits on the demo, on the tiny configuration of the integration tests and on two cohorts
with a transfer, each in a folder of its own, and compares ``metrics.tsv`` and ``comparisons.tsv``. Use it for a change
that must not change results.

Ends with one line of JSON: {"<configuration>": {"metrics.tsv": true, "comparisons.tsv": true}, ..., "same": true}
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATIONS = {
    "tiny": "tests/integration/tiny.yaml",
    "two_cohorts": "tests/support/two_cohorts.yaml",
    "demo": "config/config.yaml",
}
TABLES = ("metrics.tsv", "comparisons.tsv")


def checkout(commit: str, folder: Path) -> None:
    """The files of a commit, without touching the working tree. ``WORKTREE`` is the tree as it stands."""
    folder.mkdir(parents=True)
    if commit == "WORKTREE":
        listed = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, check=True
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        return
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)


def run(tree: Path, config: Path, results: Path, cores: int) -> float:
    """Run the workflow up to the metrics and return its seconds."""
    results.mkdir(parents=True)
    start = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--cores", str(cores), "results/metrics.tsv", "results/comparisons.tsv",
            "--snakefile", str(tree / "Snakefile"), "--directory", str(results),
            "--workflow-profile", str(tree / "profiles" / "default"), "--configfile", str(config),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"the workflow of {tree.name} failed on {config.name}:\n{done.stdout[-6000:]}")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="commit to compare with")
    parser.add_argument(
        "after", nargs="?", default="WORKTREE", help="commit to compare (default: the files as they are)"
    )
    parser.add_argument("--configurations", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS))
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    out: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        trees = {"before": Path(folder) / "before", "after": Path(folder) / "after"}
        checkout(arguments.before, trees["before"])
        checkout(arguments.after, trees["after"])
        for name in arguments.configurations:
            runs = {}
            for side, tree in trees.items():
                # The configuration of the newer tree for both, so that only code differs.
                config = trees["after"] / CONFIGURATIONS[name]
                runs[side] = Path(folder) / f"{name}_{side}"
                seconds = run(tree, config, runs[side], arguments.cores)
                print(f"{name}, {side}: {seconds:.0f} s", flush=True)
            out[name] = {
                t: (runs["before"] / "results" / t).read_bytes() == (runs["after"] / "results" / t).read_bytes()
                for t in TABLES
            }
    out["same"] = all(all(tables.values()) for tables in out.values())
    print(json.dumps(out))
    sys.exit(0 if out["same"] else 1)


if __name__ == "__main__":
    main()
