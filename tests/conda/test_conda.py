"""The whole demo with ``snakemake --use-conda``: every environment is made, and each step runs in its own.

Run by ``make test-conda``, after the demo whose metrics these must be. `conda_tool` says what the
command named conda is, and what passing here proves.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
TOOL = Path(__file__).with_name("conda_tool.py")
COPIED = ("Snakefile", "rules", "workflow", "envs", "config", "profiles")
SMALL = "results/simulated/SIM/samples.tsv"  # made by a rule whose environment is small
USER_SITE = "raise ImportError('numpy of the user site, which is no part of an environment')\n"


@pytest.fixture(scope="session", autouse=True)
def _asked_for() -> None:
    if os.environ.get("MIRROR_TEST_CONDA") != "1":
        pytest.skip("run by `make test-conda` only: it installs every environment, which takes minutes")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base installation whose ``bin`` has conda and activate."""
    folder = tmp_path_factory.mktemp("conda") / "base"
    subprocess.run([sys.executable, str(TOOL), "make-base", str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def bare(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with Snakemake and what it needs, and nothing that a step could import by mistake."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([getattr(sys, "_base_executable", sys.executable), "-m", "venv", str(folder)], check=True)
    requirements = root / "requirements.txt"
    pin = next(line for line in requirements.read_text().splitlines() if line.startswith("snakemake=="))
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--constraint", str(requirements), pin], check=True)
    missing = subprocess.run([str(folder / "bin" / "python"), "-c", "import numpy"], capture_output=True)
    assert missing.returncode, "Snakemake's own environment hides what an environment lacks"
    return folder


class Conda:
    """Snakemake with the tests' conda on the PATH, in a folder of its own."""

    def __init__(self, root: Path, base: Path, bare: Path, folder: Path, prefix: Path) -> None:
        self.root, self.folder, self.prefix = root, folder, prefix
        user = base / "user" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "numpy"
        user.mkdir(parents=True, exist_ok=True)
        (user / "__init__.py").write_text(USER_SITE)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "CONDA"))}
        self.env = kept | {
            "PATH": f"{base / 'bin'}:{bare / 'bin'}:/usr/bin:/bin",
            "PYTHONUSERBASE": str(base / "user"),
            "PIP_NO_COMPILE": "1",  # this and the next spare time only
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        """Start it and do not wait."""
        command = ["snakemake", "--cores", "2", "--use-conda", "--conda-prefix", str(self.prefix), *arguments,
                   "--snakefile", str(self.root / "Snakefile"), "--directory", str(self.folder),
                   "--workflow-profile", str(self.root / "profiles" / "default")]  # fmt: skip
        return subprocess.Popen(
            command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )

    def run(self, *arguments: str, ok: bool = True) -> str:
        """Run it to the end and return what it said."""
        process = self.start(*arguments)
        said, _ = process.communicate()
        assert (process.returncode == 0) is ok, said[-8000:]
        return said


def size_mb(folder: Path) -> int:
    """Megabytes of a folder, each hard-linked file once."""
    return int(subprocess.run(["du", "-sm", str(folder)], capture_output=True, text=True, check=True).stdout.split()[0])


@pytest.fixture(scope="session")
def demo(root: Path, base: Path, bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Conda:
    """The demo, run in its environments, once."""
    folder = tmp_path_factory.mktemp("with_conda")
    conda = Conda(root, base, bare, folder / "run", folder / "prefix")
    started = time.monotonic()
    conda.run("--conda-create-envs-only", "all", "doctor")
    made = time.monotonic()
    for done in sorted(conda.prefix.glob("*.env_setup_done"), key=lambda path: path.stat().st_mtime):
        env = done.with_suffix("")
        file = Path(f"{env}.yaml")
        name = next(each.stem for each in (root / "envs").glob("*.yaml") if each.read_text() == file.read_text())
        seconds = done.stat().st_mtime - file.stat().st_mtime
        print(f"{name}: {size_mb(env)} MB, {seconds:.0f} s")
    conda.run("all", "doctor")
    print(f"environments {made - started:.0f} s, doctor and demo {time.monotonic() - made:.0f} s")
    return conda


def test_metrics_are_those_of_the_demo_without_conda(root: Path, demo: Conda) -> None:
    expected = root / "results" / "metrics.tsv"
    assert expected.is_file(), "run `make demo` first"
    assert (demo.folder / "results" / "metrics.tsv").read_bytes() == expected.read_bytes()
    assert (demo.folder / "results" / "report.html").stat().st_size > 10_000


def test_a_second_run_makes_and_does_nothing(demo: Conda) -> None:
    said = demo.run("all")
    assert "Nothing to be done" in said
    assert "Creating conda environment" not in said


def test_torch_is_in_two_environments_only(root: Path, demo: Conda) -> None:
    having = set()
    for file in demo.prefix.glob("*.yaml"):
        name = next(each.stem for each in (root / "envs").glob("*.yaml") if each.read_text() == file.read_text())
        if subprocess.run([str(file.with_suffix("") / "bin" / "python"), "-c", "import torch"]).returncode == 0:
            having.add(name)
    assert having == {"embed", "train"}


def test_a_second_user_needs_no_right_to_write_the_prefix(root: Path, base: Path, bare: Path, demo: Conda) -> None:
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", str(demo.prefix), str(demo.prefix)]).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(demo.prefix)], check=True)
        other = Conda(root, base, bare, demo.folder.parent / "other", demo.prefix)
        said = other.run(SMALL)
        assert "Creating conda environment" not in said
        assert (other.folder / SMALL).is_file()
    finally:
        subprocess.run(["umount", str(demo.prefix)], check=True)


@pytest.fixture
def copied(root: Path, base: Path, bare: Path, tmp_path: Path) -> Conda:
    """A copy of the workflow whose environments may be spoiled."""
    (tmp_path / "repo").mkdir()
    for name in COPIED:
        source, target = root / name, tmp_path / "repo" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return Conda(tmp_path / "repo", base, bare, tmp_path / "run", tmp_path / "prefix")


@pytest.mark.fault(
    stage="processes",
    fault="a pin that no index has, then kill -9 while an environment is made",
    sees="which environment and which pin; that the incomplete environment is removed",
    survives="the other environments; the next start makes this one",
)
def test_a_wrong_pin_and_a_kill_are_repaired_by_the_next_start(copied: Conda) -> None:
    env = copied.root / "envs" / "simulate.yaml"
    right = env.read_text()
    env.write_text(re.sub(r"tqdm==\S+", "tqdm==4.70.999", right))
    said = copied.run("--conda-create-envs-only", SMALL, ok=False)
    assert said.count("Could not create conda environment") == 1 and "envs/simulate.yaml" in said
    assert "No matching distribution found for tqdm==4.70.999" in said
    env.write_text(right)
    killed = copied.start("--conda-create-envs-only", SMALL, start_new_session=True)
    while not [*copied.prefix.glob("*/lib/python3*/site-packages/pip")]:
        assert killed.poll() is None, killed.stdout.read()
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    said = copied.run("--conda-create-envs-only", SMALL)
    assert "Removing incomplete Conda environment" in said
    assert len([*copied.prefix.glob("*.env_setup_done")]) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 30 MB, too small for Python."""
    folder = tmp_path / "prefix"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("not root: no small file system can be mounted")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(folder)]).returncode:
        pytest.skip("mount is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.fault(
    stage="disk",
    fault="the disk fills while an environment is made",
    sees="which environment, and that no space is left",
    survives="the other environments; the next start makes this one",
)
def test_a_full_disk_is_said_and_the_next_start_repairs(small_disk: Path, copied: Conda) -> None:
    said = copied.run("--conda-create-envs-only", SMALL, ok=False)
    assert said.count("Could not create conda environment") == 1 and "envs/simulate.yaml" in said
    assert "No space left on device" in said
    subprocess.run(["mount", "-o", "remount,size=2g", str(small_disk)], check=True)
    copied.run("--conda-create-envs-only", SMALL)
    assert len([*small_disk.glob("*.env_setup_done")]) == 1
