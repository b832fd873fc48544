"""Faults of a whole run: kills, locks, read-only and full disks, clocks, leftovers, tokens, GPUs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest

from workflow_run import Run, random_moments

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
CONFIG = Path(__file__).parents[1] / "slurm" / "small.yaml"
METRICS = "results/metrics.tsv"
FEATURES = "results/slides/T/features/demo-random.tsv"
TOKEN = "hf_" + "neverShowThisTokenToAnyone01234567"


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An undisturbed run, with a token in its environment, on a machine of one (pretended) GPU for two jobs."""
    run = Run(root, tmp_path_factory.mktemp("whole"), CONFIG)
    locks = str(tmp_path_factory.mktemp("locks"))
    said = run.run(METRICS, "--resources", "gpu=2", HF_TOKEN=TOKEN, MIRROR_FAKE_GPUS="1", MIRROR_GPU_LOCKS=locks)
    (run.folder / "said.txt").write_text(said)
    return run


@pytest.fixture
def copy(whole: Run, tmp_path: Path) -> Run:
    """The undisturbed run's folder, to be spoilt."""
    shutil.copytree(whole.folder, tmp_path / "copy", symlinks=True)
    return Run(whole.root, tmp_path / "copy", CONFIG)


def killed_and_finished(whole: Run, run: Run, kills: int) -> None:
    """Kill a run at random moments, let it finish, and compare."""
    rng = random_moments()
    killed = 0
    while killed < kills:
        before = len(list((run.folder / "results").rglob("*.*")))
        run.unlock()
        process = run.start(METRICS)
        # Some progress between kills, so that they fall on every stage; then a random moment of the next jobs.
        while process.poll() is None and len(list((run.folder / "results").rglob("*.*"))) < before + 4:
            time.sleep(0.1)
        time.sleep(rng.uniform(0, 12))
        if process.poll() is not None:
            said = process.communicate()[0]
            assert process.returncode == 0, said[-5000:]
            break
        run.kill(process)
        killed += 1
    assert killed >= min(kills, 2)
    print("killed", killed, "times")
    run.unlock()
    run.run(METRICS)
    assert run.read(METRICS) == whole.read(METRICS)
    left = [p for p in (run.folder / "results").rglob("*.part*") if time.time() - p.stat().st_mtime > 3600]
    assert not left


@pytest.mark.fault(
    stage="processes",
    fault="kill -9 of Snakemake and all its jobs at two random moments of a whole run",
    sees="nothing; the next start goes on",
    survives="what was whole; the metrics are byte for byte those of an undisturbed run",
)
def test_kill_9_of_the_whole_run(whole: Run, tmp_path: Path) -> None:
    killed_and_finished(whole, Run(whole.root, tmp_path / "killed", CONFIG), 2)


@pytest.mark.faults_long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("repeat", range(4))
def test_twenty_kills_of_the_whole_run(whole: Run, tmp_path: Path, repeat: int) -> None:
    killed_and_finished(whole, Run(whole.root, tmp_path / "killed", CONFIG), 5)


# Stage -> the output that is compared, and what is removed beforehand.
KILLED = {
    "tile_slides": ("results/slides/T/tiles/shard_0.tsv", "results/slides/tiles/*"),
    "embed_tiles": ("results/slides/T/features/demo-random/shard_0.tsv", "results/slides/features/demo-random/*"),
    "select_genes": ("results/rna/T/cv2/genes_r0f0.tsv", "results/rna/T/cv2/transform_r0f0.npz"),
    "pretrain_mirror": ("results/models/T/demo-random/cv2/mirror/r0f0.safetensors", "results/models/state/*"),
    "encode_cohort": ("results/embeddings/T/demo-random/cv2/mirror/r0f0.h5ad", ""),
    "evaluate_embeddings": ("results/predictions/T/demo-random/cv2/survival/mirror.parquet", ""),
}


def running(folder: Path, rule: str) -> bool:
    """Whether a job of this rule runs in this folder."""
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_text() if entry.name.isdigit() else ""
        except (OSError, UnicodeDecodeError):
            continue
        if f".{rule}.py" in command and str(folder) in command:
            return True
    return False


def killed_in_stage(whole: Run, run: Run, rule: str, kills: int) -> None:
    """Kill a run while a job of ``rule`` is at work, again and again; then let it finish."""
    target, others = KILLED[rule]
    rng, killed, latest, afresh = random_moments(), 0, 3.0, True
    for _ in range(4 * kills + 4):
        for path in [run.folder / target, *(run.folder.glob(others) if others and afresh else [])]:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        run.unlock()
        process = run.start(target)
        while process.poll() is None and not running(run.folder, rule):
            time.sleep(0.05)
        time.sleep(rng.uniform(0, latest))
        afresh = process.poll() is not None
        killed += not afresh
        if afresh:  # the stage ended first: on a fast machine it lasts less than was thought
            latest = max(0.2, 0.7 * latest)
        run.kill(process)
        if killed == kills:
            break
    print("killed", killed, "times in", rule)
    assert killed == kills
    run.unlock()
    run.run(target)
    if target.endswith("h5ad"):
        mine, theirs = (anndata.read_h5ad(r.folder / target) for r in (run, whole))
        assert mine.obs.equals(theirs.obs)
        assert all(np.array_equal(mine.obsm[k], theirs.obsm[k], equal_nan=True) for k in theirs.obsm)
    else:
        assert run.read(target) == whole.read(target)


@pytest.mark.fault(
    stage="processes",
    fault="kill -9 of Snakemake and its jobs in each stage: tile, embed, select, train, encode, evaluate",
    sees="nothing; the next start goes on",
    survives="whole slides and training states; the stage's output is that of an undisturbed run",
)
@pytest.mark.parametrize("rule", KILLED)
def test_kill_9_in_each_stage(whole: Run, copy: Run, rule: str) -> None:
    killed_in_stage(whole, copy, rule, 2)


@pytest.mark.faults_long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rule", KILLED)
def test_twenty_kills_in_each_stage(whole: Run, copy: Run, rule: str) -> None:
    killed_in_stage(whole, copy, rule, 20)


def wait_for_lock(run: Run, process: subprocess.Popen) -> None:
    """Wait until a run holds its lock."""
    while not any((run.folder / ".snakemake" / "locks").glob("*")):
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.05)


@pytest.mark.fault(
    stage="processes",
    fault="two runs in one folder; a run killed that left its lock",
    sees="Directory cannot be locked, and `--unlock`",
    survives="the first run, which finishes",
)
def test_two_runs_in_one_folder(root: Path, tmp_path: Path) -> None:
    run = Run(root, tmp_path / "run", CONFIG)
    target = "results/rna/T.raw.h5ad"
    first = run.start(target)
    wait_for_lock(run, first)
    os.kill(first.pid, signal.SIGSTOP)  # so that it holds its lock for as long as the second takes
    said = run.run(target, ok=False)
    os.kill(first.pid, signal.SIGCONT)
    assert "cannot be locked" in said and "--unlock" in said
    assert first.communicate() and first.returncode == 0
    process = run.start(target, "--forceall")
    wait_for_lock(run, process)
    run.kill(process)
    assert "cannot be locked" in run.run(target, ok=False)
    run.run("--unlock")
    run.run(target)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB of its own, at ``results`` of a run."""
    if os.geteuid() != 0:
        pytest.skip("not root: no small file system can be mounted")
    folder = tmp_path / "run" / "results"
    folder.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mount is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.fault(
    stage="disk",
    fault="the disk fills up in the middle of a run; space is made",
    sees="no space left on device, by the step that met it",
    survives="what was whole; the next start ends as an undisturbed run",
)
def test_a_full_disk_in_the_middle(whole: Run, disk: Path) -> None:
    run = Run(whole.root, disk.parent, CONFIG)
    said = run.run(FEATURES, ok=False)
    logs = "".join(p.read_text(errors="replace") for p in (disk / "logs").rglob("*.log"))
    assert re.search("[Nn]o space", said + logs)
    remount(disk, "size=500m")
    run.run(FEATURES)
    assert run.read(FEATURES) == whole.read(FEATURES)


@pytest.mark.fault(
    stage="disk",
    fault="a read-only results folder",
    sees="read-only file system, with the path",
    survives="everything that was there",
)
def test_a_read_only_results_folder(whole: Run, disk: Path) -> None:
    run = Run(whole.root, disk.parent, CONFIG)
    (disk / "kept.txt").write_text("kept")
    remount(disk, "ro")
    said = run.run("results/rna/T.raw.h5ad", ok=False)
    assert "Read-only file system" in said and str(disk.name) in said
    assert [p.name for p in disk.iterdir()] == ["kept.txt"]


@pytest.mark.fault(
    stage="processes",
    fault="a clock that jumps: outputs and inputs dated tomorrow, and a year ago",
    sees="nothing, or steps that run once more",
    survives="the results, byte for byte",
)
def test_a_clock_that_jumps(copy: Run, whole: Run) -> None:
    day = 86400
    for path, jump in (("results/simulated/T/counts.tsv", day), ("results/cohort/T/patients.tsv", -365 * day)):
        os.utime(copy.folder / path, (time.time() + jump,) * 2)
    copy.run("results/rna/T/cv2/genes_r0f0.txt")
    for path in ("results/rna/T/cv2/genes_r0f0.txt", "results/cohort/T/patients.tsv", METRICS):
        assert copy.read(path) == whole.read(path)


@pytest.mark.fault(
    stage="features",
    fault="corrupt HDF5 files left by an earlier crash: tiles cut, features cut, a feature file of garbage",
    sees="one line that names the file; with --forcerun tile_slides the broken files are made anew",
    survives="the whole slides beside them, untouched",
)
def test_corrupt_hdf5_from_an_earlier_crash(copy: Run, whole: Run) -> None:
    slides = copy.folder / "results" / "slides"
    first, second, third, *rest = sorted((slides / "features" / "demo-random").glob("*.h5"))
    for victim in (first, slides / "tiles" / second.name):
        victim.write_bytes(victim.read_bytes()[:700])
    third.write_bytes(os.urandom(5000))
    kept = {path: path.stat().st_mtime_ns for path in rest}
    for status in [*slides.glob("T/**/shard_*.tsv"), copy.folder / FEATURES]:
        status.unlink()
    copy.run(FEATURES)
    assert {path: path.stat().st_mtime_ns for path in rest} == kept
    for path in (first, second, third):
        there = whole.folder / path.relative_to(copy.folder)
        with h5py.File(path) as a, h5py.File(there) as b:
            assert (a["features"][:] == b["features"][:]).all() and (a["coords"][:] == b["coords"][:]).all()


@pytest.mark.fault(
    stage="features",
    fault="a feature file that broke after its shard was done, found by training",
    sees="one line with the file and the command that repairs it (`repair_features`)",
    survives="everything else: that slide alone is made anew, and what is finished does not run again",
)
def test_a_file_that_broke_later_is_repaired_alone(copy: Run, whole: Run) -> None:
    target, spared = (f"results/models/T/demo-random/cv2/mirror/r0f{i}.safetensors" for i in (0, 1))
    broken, *rest = sorted((copy.folder / "results/slides/features/demo-random").glob("*.h5"))
    broken.write_bytes(broken.read_bytes()[:700])
    (copy.folder / target).unlink()
    kept = {path: path.stat().st_mtime_ns for path in (*rest, copy.folder / spared)}
    copy.run(target, ok=False)
    said = (copy.folder / "results/logs/pretrain_mirror/T_demo-random_cv2_mirror_r0f0.log").read_text()
    assert re.search(rf"{broken.name}: .*truncated.*snakemake repair_features --cores 1", said)
    copy.run("repair_features")
    said = copy.run(target)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    with h5py.File(broken) as a, h5py.File(whole.folder / broken.relative_to(copy.folder)) as b:
        assert (a["features"][:] == b["features"][:]).all()
    assert copy.read(target) == whole.read(target) and "embed_tiles" not in said


def texts(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file that a run leaves, Snakemake's own records included."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


@pytest.mark.fault(
    stage="security",
    fault="an HF token in the environment, of a run that works and of a download that fails",
    sees="never the token: not in output, logs, records, reports",
    survives="the token's secrecy",
)
def test_the_token_is_nowhere(whole: Run, tmp_path: Path) -> None:
    config = tmp_path / "gated.yaml"
    config.write_text(CONFIG.read_text().replace("[demo-random]", "[uni]"))
    failing = Run(whole.root, tmp_path / "failing", config)
    said = failing.run(
        "fetch_weights", ok=False, HF_TOKEN=TOKEN, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path / "hub")
    )
    assert TOKEN not in said and "fetch_weights" in said
    for folder in (whole.folder, failing.folder):
        assert not [path for path, content in texts(folder) if TOKEN.encode() in content]


@pytest.mark.fault(
    stage="cluster",
    fault="more GPU jobs than GPUs on one machine",
    sees="`GPUs are busy` and by whom, in the log of the job that waits",
    survives="every job; each had a GPU for itself",
)
def test_gpu_jobs_queue_for_a_device(whole: Run) -> None:
    spans, waited = [], 0
    for log in (whole.folder / "results" / "logs").rglob("*.log"):
        text = log.read_text(errors="replace")
        waited += "GPUs are busy, held by" in text
        begun = re.search(r"^(\S+) INFO Using GPU (\S+)$", text, flags=re.M)
        if begun:
            assert begun[2] == "0"
            spans.append(begun[1])
    assert len(spans) >= 6, "two shards, two trainings, two encodings"
    assert waited >= 1, "two at a time were let in by `--resources gpu=2`, and one of them waited"
