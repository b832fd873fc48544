"""The Slurm profile on a real Slurm: both nodes, both partitions, one GPU per job, a lost job and a lost node."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import GPUS, Cluster, missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
CONFIG = Path(__file__).with_name("small.yaml")
TARGET = "results/metrics.tsv"


def snakemake(root: Path, folder: Path, profile: Path, *arguments: str) -> list[str]:
    """The command line, in a folder of its own."""
    return [
        sys.executable, "-m", "snakemake", TARGET, "--snakefile", str(root / "Snakefile"), "--directory", str(folder),
        "--workflow-profile", str(profile), "--configfile", str(CONFIG), *arguments,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Metrics of a local run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("local")
    command = snakemake(root, folder, root / "profiles" / "default", "--cores", "2")
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return (folder / TARGET).read_bytes()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    """A Slurm of two nodes, or a skip that says why there is none."""
    if os.environ.get("MIRROR_TEST_SLURM") != "1":
        pytest.skip("run by `make test-slurm` only: it installs Slurm's Debian packages and writes /etc/slurm")
    reason = missing()
    if reason:
        pytest.skip(f"no Slurm here: {reason}")
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.mark.fault(
    stage="cluster",
    fault="kill -9 of a running Slurm job, and a node that dies with its job",
    sees="FAILED, NODE_FAIL, and that the job is restarted",
    survives="the run, which ends by itself with the metrics of an undisturbed one",
)
def test_a_run_survives_a_lost_job_and_a_lost_node(
    root: Path, tmp_path: Path, cluster: Cluster, undisturbed: bytes
) -> None:
    """The run ends by itself with the metrics of an undisturbed one."""
    quick = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "3",
             "--latency-wait", "15", "--jobs", "4")  # fmt: skip
    said_file = tmp_path / "said.txt"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MIRROR_FAKE_GPUS": "2"}  # no job stops because none computes
    with open(said_file, "w") as out:
        run = subprocess.Popen(
            snakemake(root, tmp_path / "run", root / "profiles" / "slurm", *quick),
            env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    lost_job = lost_node = None
    try:
        while run.poll() is None:
            for job in cluster.observe():
                if lost_job is None and "tile_slides" in job["Comment"]:
                    lost_job = job["JobId"] if cluster.kill_job(job["JobId"]) else None
                elif lost_node is None and "pretrain_mirror" in job["Comment"] and job["gpus"]:
                    lost_node = job["NodeList"]
                    cluster.kill_node(lost_node)
            time.sleep(0.3)
        cluster.observe()
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
    said = said_file.read_text()
    assert run.returncode == 0, said[-6000:]
    assert lost_job and lost_node, "both accidents happened"

    jobs = cluster.jobs
    assert len(jobs) >= 19, "every job went through sbatch"
    assert {job["Partition"] for job in jobs.values()} == {"cpu", "gpu"}
    ran_on = {job["NodeList"] for job in jobs.values() if job["JobState"] == "COMPLETED"}
    assert ran_on == set(GPUS), "both nodes did work"
    assert jobs[lost_job]["JobState"] == "FAILED"
    assert "NODE_FAIL" in {job["JobState"] for job in jobs.values()}

    for job in jobs.values():
        wants_gpu = any(rule in job["Comment"] for rule in ("embed_tiles", "pretrain_mirror", "encode_cohort"))
        assert (job["Partition"] == "gpu") is wants_gpu, job["Comment"]
        assert bool(job["gpus"]) is wants_gpu, job["Comment"]
    # No GPU was lent twice at a time: by Slurm's own record, and by what the jobs saw.
    spans = [(j["NodeList"], j["gpus"], j["StartTime"], j["EndTime"]) for j in jobs.values() if j["gpus"]]
    assert len({(node, gpu) for node, gpu, _, _ in spans}) >= 2
    for i, (node, gpu, start, stop) in enumerate(spans):
        assert gpu.isdigit(), "one GPU per job"
        for other in spans[i + 1 :]:
            if other[:2] == (node, gpu):
                assert stop <= other[2] or other[3] <= start, f"{node} GPU {gpu} was lent twice at a time"
    logs = [*(tmp_path / "run/results/logs/pretrain_mirror").glob("*.log")]
    seen = [re.findall(r"Using GPU (\S+)", log.read_text()) for log in logs]
    assert len(seen) == 2 and all(len(one) == 1 and one[0] in "01" for one in seen)

    assert (tmp_path / "run" / TARGET).read_bytes() == undisturbed
