"""Slurm jobs in conda environments that were made beforehand, under a prefix that all nodes share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_cluster import Cluster, missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CONFIG = Path(__file__).with_name("small.yaml")
TARGET = "results/simulated/T/samples.tsv"  # made by a rule whose environment is small


@pytest.fixture
def cluster(tmp_path: Path):
    """A Slurm of two nodes, or a skip that says why there is none."""
    if os.environ.get("MIRROR_TEST_SLURM") != "1":
        pytest.skip("run by `make test-slurm` only: it installs Slurm's Debian packages and writes /etc/slurm")
    reason = missing()
    if reason:
        pytest.skip(f"no Slurm here: {reason}")
    with Cluster(tmp_path / "slurm") as cluster:
        yield cluster


@pytest.fixture
def conda(root: Path, tmp_path: Path) -> Path:
    """The ``bin`` folder of the tests' conda (see tests/conda/conda_tool.py)."""
    tool = root / "tests" / "conda" / "conda_tool.py"
    subprocess.run([sys.executable, str(tool), "make-base", str(tmp_path / "base")], check=True)
    return tmp_path / "base" / "bin"


def test_a_job_runs_in_an_environment_made_on_the_login_node(
    root: Path, tmp_path: Path, cluster: Cluster, conda: Path
) -> None:
    """Environments are made once, by the command that docs/cluster.md shows; the job activates and makes none."""
    prefix = tmp_path / "shared" / "conda"
    env = {**os.environ, "PATH": f"{conda}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "PIP_NO_COMPILE": "1"}
    command = [
        sys.executable, "-m", "snakemake", TARGET, "--snakefile", str(root / "Snakefile"),
        "--directory", str(tmp_path / "run"), "--workflow-profile", str(root / "profiles" / "slurm"),
        "--configfile", str(CONFIG), "--use-conda", "--conda-prefix", str(prefix), "--latency-wait", "15",
        "--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "2",
    ]  # fmt: skip
    said = []
    for more in (["--conda-create-envs-only"], ["--slurm-keep-successful-logs"]):
        done = subprocess.run(
            [*command, *more], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=700
        )
        said.append(done.stdout)
        assert done.returncode == 0, done.stdout[-5000:]
    made = [file.with_suffix("") for file in prefix.glob("*.env_setup_done")]
    assert len(made) == 1 and "Creating conda environment" in said[0] and "Creating conda environment" not in said[1]
    cluster.observe()
    assert [job["JobState"] for job in cluster.jobs.values()] == ["COMPLETED"]
    logs = "".join(log.read_text() for log in (tmp_path / "run/.snakemake/slurm_logs").rglob("*.log"))
    assert f"Activating conda environment: {os.path.relpath(made[0], tmp_path / 'run')}" in logs
    assert (tmp_path / "run" / TARGET).stat().st_size > 0
