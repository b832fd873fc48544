"""Runs of the real workflow, shared by the tests that look at them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

TINY = Path(__file__).with_name("tiny.yaml")


class Workflow:
    """The workflow in a folder of its own."""

    def __init__(self, root: Path, folder: Path, config: Path = TINY) -> None:
        self.root, self.folder, self.config = root, folder, config
        folder.mkdir(parents=True, exist_ok=True)

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return [
            sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--snakefile", str(self.root / "Snakefile"),
            "--directory", str(self.folder), "--workflow-profile", str(self.root / "profiles" / "default"),
            "--configfile", str(self.config),
        ]  # fmt: skip

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        """Start it and do not wait."""
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            self.command(*arguments), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )

    def run(self, *arguments: str, ok: bool = True) -> str:
        """Run it to the end and return what it said."""
        process = self.start(*arguments)
        said, _ = process.communicate()
        assert (process.returncode == 0) is ok, said[-6000:]
        return said

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs that a run would do, by rule."""
        said = self.run("--dry-run", *arguments)
        jobs: dict[str, int] = {}
        if "Job stats:" in said:
            for line in said.split("Job stats:", 1)[1].splitlines()[3:]:
                parts = line.split()
                if len(parts) != 2 or not parts[1].isdigit():
                    break
                jobs[parts[0]] = int(parts[1])
        jobs.pop("total", None)
        return jobs


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory) -> Workflow:
    """A finished run of the tiny configuration; made once, also where several workers run the tests."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    workflow = Workflow(root, base / "tiny_run")
    done = base / "tiny_run.done"
    with FileLock(base / "tiny_run.lock"):
        if not done.exists():
            workflow.run()
            done.touch()
    return workflow
