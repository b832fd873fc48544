"""What a run finds around it: the interpreter's path, the command line, a home that cannot be written.

Called once, while the workflow is read, so that what would fail in the first job fails at once.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Collection, MutableMapping, Sequence
from pathlib import Path

from .errors import InputError

# Caches that lie in the home unless these name another place.
CACHES = {"MPLCONFIGDIR": "matplotlib", "NUMBA_CACHE_DIR": "numba"}


def check_interpreter(executable: str, conda: bool) -> None:
    """Refuse a Python whose path the shell would split: Snakemake does not quote it.

    Parameters
    ----------
    executable : str
        Of the interpreter that runs Snakemake, and without conda the steps.
    conda : bool
        Whether steps run in environments of their own, whose python is found by name.

    Raises
    ------
    InputError
        The path has a blank or another character that the shell reads.
    """
    if not conda and shlex.quote(executable) != executable and any(c in executable for c in " \t&;()|<>$`'\"*?[]#~!\\"):
        raise InputError(
            "the path of this Python has a blank or a character of the shell, and Snakemake does not quote it",
            file=executable,
            remedy="make the environment elsewhere, as in `make demo VENV=$HOME/mirror-venv`; "
            "the workflow and its data may stay",
        )


def check_command_line(words: Sequence[str], defaults: Collection[str]) -> None:
    """Refuse ``--default-resources`` that took the Slurm profile's list away.

    Parameters
    ----------
    words : sequence of str
        The command line.
    defaults : collection of str
        Names of the default resources in force.

    Raises
    ------
    InputError
        The option is on a command line that names the Slurm profile, and no partition is left.
    """
    given = any(word.split("=")[0] == "--default-resources" for word in words)
    options = ("--executor", "-e", "--profile", "--workflow-profile")
    values = [words[i + 1] for i, word in enumerate(words[:-1]) if word in options]
    values += [word.split("=", 1)[1] for word in words if word.split("=")[0] in options and "=" in word]
    slurm = any(Path(value).name == "slurm" for value in values)
    if given and slurm and "slurm_partition" not in defaults:
        raise InputError(
            "--default-resources replaces the profile's whole list: partition, account, memory and run time are lost",
            file="command line",
            remedy="write the value under default-resources of profiles/slurm/config.yaml (tmpdir has a line there), "
            "or repeat slurm_partition with it",
        )


def use_own_caches(environment: MutableMapping[str, str]) -> Path | None:
    """Put caches of libraries into the temporary folder where the home cannot be written.

    Returns
    -------
    Path or None
        The folder; None where the home can be written, or everything is set already.
    """
    wanted = {name: inner for name, inner in CACHES.items() if name not in environment}
    home = Path(environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/")) / ".cache")
    if not wanted or _writable(home):
        return None
    folder = Path(tempfile.gettempdir()) / f"mirror-cache-{os.getuid()}"
    for name, inner in wanted.items():
        (folder / inner).mkdir(parents=True, exist_ok=True)
        environment[name] = str(folder / inner)
    return folder


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
