"""Every way in works, or stops with one line: as a module, through links, odd paths, read-only clones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from snakemake.profiles import ProfileConfigFileParser

from rules import ROOT

SMALL = ROOT / "tests" / "slurm" / "small.yaml"
COPIED = ("Snakefile", "rules", "workflow", "envs", "config", "profiles")
CLINICAL = "results/cohort/T/clinical.tsv"  # two jobs: drawing the cohort, reading its clinical table
MODULE = """
module mirror:
    snakefile: {snakefile!r}
    config: config["mirror"]
{more}

use rule * from mirror as mirror_*

rule all:
    default_target: True
    input: rules.mirror_all.input
"""


def snakemake(
    *arguments: str | Path, folder: Path, python: str | Path = sys.executable, ok: bool = True, **environment: str
) -> str:
    """Run Snakemake in a folder and return what it said."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [str(python), "-m", "snakemake", "--cores", "1", *map(str, arguments)],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert (done.returncode == 0) is ok, done.stdout[-4000:]
    return done.stdout


def jobs(said: str) -> int:
    """Jobs of a dry run."""
    lines = said.split("Job stats:", 1)[1].splitlines()
    return int(next(line for line in lines if line.startswith("total")).split()[1])


def module(folder: Path, snakefile: str, more: str = "") -> None:
    """Write a workflow that has this one as a module."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Snakefile").write_text(MODULE.format(snakefile=snakefile, more=more))
    settings = yaml.safe_load(SMALL.read_text())
    (folder / "mine.yaml").write_text(yaml.safe_dump({"another": 1, "mirror": settings}))


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Jobs of the small cohort, planned the usual way."""
    folder = tmp_path_factory.mktemp("usual")
    return jobs(snakemake("-n", "--snakefile", ROOT / "Snakefile", "--configfile", SMALL, folder=folder))


def test_as_a_module_all_is_planned_and_scripts_run(tmp_path: Path, planned: int) -> None:
    module(tmp_path, str(ROOT / "Snakefile"))
    # The rule `all` of the workflow around it takes the place of the one here.
    assert jobs(snakemake("-n", "--configfile", "mine.yaml", folder=tmp_path)) == planned
    snakemake(CLINICAL, "--configfile", "mine.yaml", folder=tmp_path)
    assert (tmp_path / CLINICAL).is_file()


def test_a_modules_prefix_is_refused_in_favour_of_results(tmp_path: Path) -> None:
    module(tmp_path, str(ROOT / "Snakefile"), more='    prefix: "sub"')
    said = snakemake("-n", "--configfile", "mine.yaml", folder=tmp_path, ok=False)
    assert "give the module a configuration whose `results` is another folder" in said


def test_a_remote_source_is_answered_with_one_line(tmp_path: Path) -> None:
    """A file inside a git repository is fetched alone, as one of github(...) is."""
    origin = tmp_path / "origin"
    origin.mkdir()
    shutil.copy(ROOT / "Snakefile", origin)
    git = ["git", "-C", str(origin), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "one"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True)
    module(tmp_path / "mine", f"git+file://{origin}/Snakefile@v1")
    said = snakemake("-n", "--configfile", "mine.yaml", folder=tmp_path / "mine", ok=False)
    assert "clone the repository and give the path of its Snakefile" in said


@pytest.mark.parametrize("way", ["workflow_folder", "linked_file", "linked_folder_from_below"])
def test_links_and_folders_plan_the_same(tmp_path: Path, planned: int, way: str) -> None:
    folder, snakefile = tmp_path / "here", ROOT / "workflow" / "Snakefile"
    extra = 0
    if way == "workflow_folder":
        extra = 1  # its own default target
    elif way == "linked_file":
        folder.mkdir()
        snakefile = folder / "Snakefile"
        snakefile.symlink_to(ROOT / "Snakefile")
    else:
        (tmp_path / "link").symlink_to(ROOT)
        snakefile = tmp_path / "link" / "docs" / ".." / "Snakefile"
    said = snakemake("-n", "--snakefile", snakefile, "--configfile", SMALL, folder=folder)
    assert jobs(said) - extra in (planned, planned - 1)


def test_another_folder_takes_the_shipped_configuration(tmp_path: Path) -> None:
    said = snakemake("-n", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path / "other", folder=tmp_path)
    assert jobs(said) > 50


@pytest.fixture
def odd_clone(tmp_path: Path) -> Path:
    """A copy of the workflow in a path with blanks, parentheses, an ampersand and letters beyond ASCII."""
    clone = tmp_path / "My Data (Zürich) & co" / "mirror"
    clone.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, clone / name)
    return clone


def test_odd_paths_a_read_only_clone_and_another_temporary_folder(odd_clone: Path, tmp_path: Path) -> None:
    """Everything at once: the folder of results has an odd path too, and the clone cannot be written."""
    mounted = os.geteuid() == 0 and not subprocess.run(["mount", "--bind", odd_clone, odd_clone]).returncode
    if mounted:
        subprocess.run(["mount", "-o", "remount,ro,bind", odd_clone], check=True)
    results = tmp_path / "Ergebnisse (neu) & alt"
    shm = Path("/dev/shm")
    other = {"TMPDIR": str(shm)} if shm.is_dir() and os.access(shm, os.W_OK) else {}
    try:
        snakemake(CLINICAL, "--snakefile", odd_clone / "Snakefile", "--directory", results, "--configfile", SMALL,
                  folder=tmp_path, **other)  # fmt: skip
    finally:
        if mounted:
            subprocess.run(["umount", odd_clone], check=True)
    assert (results / CLINICAL).is_file()


def test_a_python_in_a_path_with_a_blank_is_said_before_a_job_starts(tmp_path: Path) -> None:
    link = tmp_path / "My Data" / ".venv" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to(sys.executable)
    settings = Path(sys.prefix) / "pyvenv.cfg"
    if settings.is_file():
        shutil.copy(settings, link.parents[1])
    (link.parents[1] / "lib").symlink_to(Path(sys.prefix) / "lib")
    said = snakemake(CLINICAL, "--snakefile", ROOT / "Snakefile", "--configfile", SMALL,
                     folder=tmp_path / "run", python=link, ok=False)  # fmt: skip
    assert "Snakemake does not quote it" in said and "make demo VENV=" in said
    assert not (tmp_path / "run" / "results").exists()


def test_default_resources_beside_the_slurm_profile_are_refused_and_its_line_keeps_all(tmp_path: Path) -> None:
    profile = tmp_path / "slurm"
    shutil.copytree(ROOT / "profiles" / "slurm", profile)
    dry = (CLINICAL, "-n", "--snakefile", ROOT / "Snakefile", "--configfile", SMALL, "--workflow-profile", profile)
    said = snakemake(*dry, "--default-resources", "tmpdir='/scratch/me'", folder=tmp_path, ok=False)
    assert "replaces the profile's whole list" in said and "profiles/slurm/config.yaml" in said
    text = (profile / "config.yaml").read_text()
    assert text.count("  # tmpdir: ") == 1
    (profile / "config.yaml").write_text(text.replace("  # tmpdir: ", "  tmpdir: "))
    snakemake(*dry, folder=tmp_path)
    with open(profile / "config.yaml") as stream:
        kept = ProfileConfigFileParser().parse(stream)["default-resources"]
    assert kept == ["slurm_partition=cpu", "mem_mb=2000", "runtime=30", "tmpdir='/scratch/me'"]


def test_the_makefile_refuses_an_environment_in_a_path_with_a_blank(tmp_path: Path) -> None:
    folder = tmp_path / "My Data"
    folder.mkdir()
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    done = subprocess.run(["make", "venv"], cwd=folder, capture_output=True, text=True)
    assert done.returncode and "VENV=" in done.stderr
    assert not (folder / ".venv").exists()


def test_files_and_settings_of_the_command_line_reach_the_checks(tmp_path: Path, planned: int) -> None:
    """What `mirror.config.files` refuses and notes, through Snakemake: a file without cohorts, an empty section."""
    snakefile = ("-n", "--snakefile", ROOT / "Snakefile", "--configfile")
    half = tmp_path / "half.yaml"
    half.write_text("title: My study\npretrain: {}\n")
    said = snakemake(*snakefile, half, folder=tmp_path / "a", ok=False)
    assert "half.yaml names no cohorts" in said and "Traceback" not in said
    said = snakemake(*snakefile, SMALL, half, folder=tmp_path / "b")
    assert jobs(said) == planned and "Note: every cohort of this run is simulated: T" in said
    show = ("--snakefile", tmp_path / "show" / "Snakefile", "--configfile")
    (tmp_path / "show").mkdir()
    text = (ROOT / "Snakefile").read_text()
    (tmp_path / "show" / "Snakefile").write_text(text + 'print("epochs", CONFIG["pretrain"]["train"]["epochs"])\n')
    for name in ("rules", "workflow", "config", "envs"):
        (tmp_path / "show" / name).symlink_to(ROOT / name)
    assert "epochs 3" in snakemake("-n", *show, SMALL, folder=tmp_path / "c")
    assert "epochs 3" not in snakemake("-n", *show, SMALL, half, folder=tmp_path / "d"), "reset by `pretrain: {}`"
    typed = snakemake("-n", *show, SMALL, "--config", "pretrain={train: {epochs: 9}}", folder=tmp_path / "e")
    assert "epochs 9" in typed
