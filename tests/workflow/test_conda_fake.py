"""With `--use-conda` every rule that runs a script asks for its own environment: a pretended conda writes down which.

No channel is reached and nothing is installed. The pretended `conda` makes empty environments,
their `activate` writes down who was asked for, and their `python` writes down the script and
makes the job's outputs out of nothing, so that the whole DAG passes by.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rules import ROOT, RULES

pytestmark = pytest.mark.slow
CONFIG = ROOT / "tests" / "slurm" / "small.yaml"

CONDA = """#!/bin/bash
case "$*" in
  --version) echo "conda 99.1.0" ;;
  "info --json") echo '{{"conda_prefix": "{base}", "root_prefix": "{base}", "platform": "linux-64"}}' ;;
  clean*) ;;
  config*) echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  *create*)
    while [ $# -gt 0 ]; do
      case "$1" in --file|-f) file="$2" ;; --prefix|-p) prefix="$2" ;; esac; shift
    done
    mkdir -p "$prefix/bin"; cp "$file" "$prefix/asked.yaml"; cp {base}/python "$prefix/bin/python" ;;
  *) echo "the pretended conda does not know: $*" >&2; exit 1 ;;
esac
"""
PYTHON = """#!/bin/bash
# Called as an environment's python: which one, and for which script?
case "$1" in -c|--version|-V) exec {python} "$@" ;; esac
for script in "$@"; do case "$script" in *.py) break ;; esac; done
echo "$(basename "$script")|$MIRROR_FAKE_ENV" >> {base}/jobs
exec {python} {base}/pretend.py "$script"
"""
ACTIVATE = 'export MIRROR_FAKE_ENV="$1"; export PATH="$1/bin:$PATH"\n'
PRETEND = """
import sys
from pathlib import Path
preamble = Path(sys.argv[1]).read_text().split("######## snakemake preamble end")[0]
exec(preamble)
for path in snakemake.output:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("made by no one\\n")
"""


@pytest.fixture
def conda(tmp_path: Path) -> Path:
    """The base folder of a pretended conda."""
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    values = {"base": base, "python": sys.executable}
    for name, text in (("bin/conda", CONDA), ("python", PYTHON)):
        (base / name).write_text(text.format(**values))
        (base / name).chmod(0o755)
    (base / "bin" / "activate").write_text(ACTIVATE)
    (base / "pretend.py").write_text(PRETEND)
    return base


def snakemake(base: Path, *arguments: str) -> str:
    """Run the workflow with the pretended conda on the PATH."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, "--use-conda", "--cores", "2", "--snakefile",
         str(ROOT / "Snakefile"), "--directory", str(base.parent / "run"), "--configfile", str(CONFIG),
         "--workflow-profile", str(ROOT / "profiles" / "default")],
        env={**os.environ, "PATH": f"{base / 'bin'}:{os.environ['PATH']}"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout + done.stderr


def test_use_conda_parses(conda: Path) -> None:
    said = snakemake(conda, "--dry-run")
    assert "envs/embed.yaml will be created" in said


def test_every_script_runs_in_its_own_environment(conda: Path) -> None:
    snakemake(conda, "all", "doctor", "fetch_weights")
    ran: dict[str, set[str]] = {}
    for line in (conda / "jobs").read_text().splitlines():
        script, prefix = line.split("|")
        assert prefix, f"{script} ran outside an environment"
        name = re.sub(r"^tmp\w*?\.", "", script)
        ran.setdefault(name, set()).add((Path(prefix) / "asked.yaml").read_text())
    wanted: dict[str, set[str]] = {}
    for script, envs in RULES.values():
        wanted.setdefault(script.name, set()).update(env.read_text() for env in envs)
    assert len(ran) >= 25
    for name, asked in ran.items():
        assert asked <= wanted[name], f"{name} ran in another environment than its own"
