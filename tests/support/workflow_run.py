"""The real workflow in a folder of its own, and random moments that can be given again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

SEED = "MIRROR_TEST_SEED"


def random_moments() -> random.Random:
    """A generator whose seed is printed; MIRROR_TEST_SEED gives it again."""
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(10**6))
    print(f"{SEED}={seed} gives these moments again")
    return random.Random(seed)


class Run:
    """The real workflow in a folder of its own.

    Parameters
    ----------
    root : Path
        The repository.
    folder : Path
        Where it runs; made here.
    config : Path
        Its configuration.
    """

    def __init__(self, root: Path, folder: Path, config: Path) -> None:
        self.root, self.folder, self.config = root, folder, config
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen:
        """Start it in a process group of its own."""
        command = [
            sys.executable, "-m", "snakemake", *arguments, "--cores", "2", "--snakefile", str(self.root / "Snakefile"),
            "--directory", str(self.folder), "--workflow-profile", str(self.root / "profiles" / "default"),
            "--configfile", str(self.config),
        ]  # fmt: skip
        return subprocess.Popen(
            command, env={**os.environ, "OMP_NUM_THREADS": "1", **env}, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, *arguments: str, ok: bool = True, **env: str) -> str:
        """Run it to the end; what it said."""
        process = self.start(*arguments, **env)
        try:
            said, _ = process.communicate()
        except BaseException:  # a test's time is up: leave no job behind
            self.kill(process)
            raise
        assert (process.returncode == 0) is ok, said[-6000:]
        return said

    def kill(self, process: subprocess.Popen) -> None:
        """kill -9 Snakemake and every job of it, at once: the machine lost its power."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def unlock(self) -> None:
        """What a user does after that."""
        if any((self.folder / ".snakemake" / "locks").glob("*")):
            self.run("--unlock")

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

    def read(self, path: str) -> bytes:
        """An output's bytes."""
        return (self.folder / path).read_bytes()
