"""What is around a run: interpreter, command line, a home that cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.core.errors import InputError
from mirror.core.surroundings import check_command_line, check_interpreter, use_own_caches


@pytest.mark.parametrize("path", ["/home/me/My Data/bin/python", "/data (old)/bin/python", "/r&d/bin/python"])
def test_an_interpreter_that_the_shell_would_split(path):
    with pytest.raises(InputError, match="does not quote it"):
        check_interpreter(path, conda=False)
    check_interpreter(path, conda=True)


@pytest.mark.parametrize("path", ["/usr/bin/python3.11", "/home/zoë/.venv/bin/python", "/data/a+b=c,d/python"])
def test_an_interpreter_that_it_would_not(path):
    check_interpreter(path, conda=False)


@pytest.mark.parametrize(
    "words",
    [
        ["--workflow-profile", "profiles/slurm", "--default-resources", "tmpdir='/scratch'"],
        ["--workflow-profile=profiles/slurm/", "--default-resources=tmpdir='/scratch'"],
        ["--default-resources", "mem_mb=5", "--executor", "slurm"],
    ],
)
def test_default_resources_that_took_the_partition_away(words):
    with pytest.raises(InputError, match="replaces the profile's whole list"):
        check_command_line(words, {"tmpdir": 1})
    check_command_line(words, {"tmpdir": 1, "slurm_partition": "cpu"})


def test_other_command_lines_are_left_alone():
    check_command_line(["--default-resources", "mem_mb=5"], {"mem_mb": 5})
    check_command_line(["--directory", "runs/slurm", "--default-resources", "mem_mb=5"], {"mem_mb": 5})
    check_command_line(["--workflow-profile", "profiles/slurm"], {})


@pytest.mark.parametrize("home", ["/proc/none", "file"])
def test_caches_leave_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch, home):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").write_text("no folder")
    environment = {"HOME": home if home.startswith("/") else str(tmp_path / home)}
    folder = use_own_caches(environment)
    assert folder is not None and folder.parent == tmp_path
    assert Path(environment["MPLCONFIGDIR"]).is_dir() and Path(environment["NUMBA_CACHE_DIR"]).is_dir()
    assert use_own_caches(environment) is None, "set once"


def test_caches_stay_in_a_home_that_can(tmp_path: Path):
    environment = {"HOME": str(tmp_path)}
    assert use_own_caches(environment) is None
    assert environment == {"HOME": str(tmp_path)}
