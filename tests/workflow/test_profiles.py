"""The profiles say what the machine has and what clusters taught."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from snakemake.profiles import ProfileConfigFileParser

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "profiles" / "default" / "config.yaml"
SLURM = ROOT / "profiles" / "slurm" / "config.yaml"


def parsed(path: Path) -> dict:
    """A profile as Snakemake reads it."""
    with open(path) as stream:
        return ProfileConfigFileParser().parse(stream)


@pytest.mark.parametrize(
    ("told", "gpus"),
    [
        ({"MIRROR_FAKE_GPUS": "2"}, "2"),
        ({"MIRROR_FAKE_GPUS": "GPU-a,GPU-b,GPU-c"}, "3"),
        ({"MIRROR_FAKE_GPUS": "4", "CUDA_VISIBLE_DEVICES": "0,3"}, "2"),
        ({"CUDA_VISIBLE_DEVICES": "5"}, "1"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "1000"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "1000"),
        ({"MIRROR_FAKE_GPUS": "0"}, "1000"),
    ],
)
def test_gpu_jobs_at_a_time_are_the_gpus_here(monkeypatch, told, gpus):
    for name in ("MIRROR_FAKE_GPUS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert parsed(LOCAL)["resources"] == [f"gpu={gpus}"]


def test_the_cluster_counts_its_own_gpus():
    assert "resources" not in parsed(SLURM), "the number here would hold back the whole cluster"


def test_the_slurm_profile_states_its_safety():
    profile, local = yaml.safe_load(SLURM.read_text()), yaml.safe_load(LOCAL.read_text())
    assert profile["slurm-status-command"] == "squeue"
    assert profile["retries"] >= 1 and profile["slurm-no-requeue"] is True
    assert not {"slurm-array-jobs", "slurm-requeue", "groups", "group-components"} & set(profile)
    shared = ("scheduler", "rerun-incomplete", "rerun-triggers", "keep-going", "show-failed-logs", "printshellcmds")
    assert {k: profile[k] for k in shared} == {k: local[k] for k in shared}, "it takes the place of profiles/default"


def test_rules_leave_retries_and_groups_to_profiles_and_gpu_rules_have_a_partition():
    asking = set()
    for file in (ROOT / "rules").glob("*.smk"):
        for block in re.split(r"^rule ", file.read_text(), flags=re.M)[1:]:
            name = block.split(":", 1)[0]
            assert not re.search(r"^    (retries|group):", block, flags=re.M), name
            if re.search(r"^        gpu=", block, flags=re.M):
                asking.add(name)
    assert asking == set(yaml.safe_load(SLURM.read_text())["set-resources"])


def test_every_rule_that_asks_for_a_gpu_runs_a_script_that_locks_one():
    for file in (ROOT / "rules").glob("*.smk"):
        for block in re.split(r"^rule ", file.read_text(), flags=re.M)[1:]:
            if re.search(r"^        gpu=", block, flags=re.M):
                script = ROOT / "workflow" / "scripts" / Path(re.search(r'script:\s+"(.+?)"', block)[1]).name
                text = script.read_text()
                asks = script.stem == "check_gpu"  # looks at the device and computes nothing: a busy one answers too
                assert asks or "hold_gpu(" in text or "run_job(job, gpus=" in text, script.name
                if "gpu_share" in block:
                    assert 'resources.get("gpu_share", 1)' in text, script.name


COMMANDS = {"doctor", "trace", "repair_features"}  # typed by hand, and made anew each time


def test_every_rule_says_where_it_logs_what_it_takes_and_how_long_it_took():
    seen = 0
    for file in (ROOT / "rules").glob("*.smk"):
        for block in re.split(r"^rule ", file.read_text(), flags=re.M)[1:]:
            name = block.split(":", 1)[0]
            wanted = {"log", "benchmark", "conda", "threads", "resources", "message"}
            said = set(re.findall(r"^    (\w+):", block, flags=re.M))
            missing = wanted - said - ({"benchmark"} if name in COMMANDS else set())
            assert not missing or name == "all", f"{name} lacks {sorted(missing)}"
            seen += 1
    assert seen > 30
