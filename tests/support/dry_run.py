"""What Snakemake plans for a configuration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rules import ROOT


def snakemake(folder: Path, config: Path, *arguments: str, ok: bool = True) -> str:
    """What Snakemake says; where it must fail, its errors too."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments, "--snakefile", str(ROOT / "Snakefile")]
    done = subprocess.run(
        [*command, "--directory", str(folder), "--configfile", str(config)], capture_output=True, text=True
    )
    assert (done.returncode == 0) is ok, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout if ok else done.stdout + done.stderr


def planned(folder: Path, config: Path, *arguments: str) -> dict[str, int]:
    """Jobs of a dry run by rule."""
    jobs = {}
    for line in snakemake(folder, config, "--dry-run", *arguments).partition("Job stats:")[2].splitlines()[3:]:
        parts = line.split()
        if len(parts) != 2 or not parts[1].isdigit():
            break
        jobs[parts[0]] = int(parts[1])
    return jobs
