"""A command named ``conda`` for the tests, made of py-rattler's solver and installer and a local channel.

It answers what Snakemake asks of conda, and makes environments as ``conda env create`` does: packages
of the channel are solved and linked into the prefix, then the environment's own pip installs the
``pip:`` section. The channel has two packages: ``python``, repacked from the running interpreter,
and ``pip``.

What runs with it proves that each step has all it imports in its own environment, that Snakemake
makes, activates, shares and repairs the environments, and that the pins can be installed on this
platform. It does not prove that conda-forge has python and pip, nor anything about conda's own solver.

Use: ``python conda_tool.py make-base FOLDER``, then put ``FOLDER/bin`` on the PATH.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib.metadata
import io
import json
import os
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

import yaml

VERSION = "24.7.1"  # the oldest that Snakemake takes
ACTIVATE = """# Sourced by Snakemake: source activate PREFIX
export CONDA_PREFIX="$1" CONDA_DEFAULT_ENV="$1" CONDA_SHLVL=1
export PATH="$1/bin:$PATH"
for script in "$1"/etc/conda/activate.d/*.sh; do [ -e "$script" ] && . "$script"; done; :
"""
LEFT_OUT = {"site-packages", "dist-packages", "test", "__pycache__", "idlelib", "ensurepip", "tkinter", "turtledemo"}


def platform() -> str:
    """The channel's subfolder for this machine, as linux-64."""
    from rattler import Platform

    return str(Platform.current())


def python_files() -> Iterable[tuple[str, Path]]:
    """Names in the environment and files of the interpreter that runs this."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    binary = Path(sys.executable).resolve()
    for name in (version, "python3", "python"):
        yield f"bin/{name}", binary
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*")):
        inside = path.relative_to(library)
        if path.is_file() and not LEFT_OUT & set(inside.parts) and not inside.parts[0].startswith("config-"):
            yield f"lib/{version}/{inside}", path
    shared = sysconfig.get_config_var("INSTSONAME")
    if shared and (Path(sysconfig.get_config_var("LIBDIR")) / shared).is_file() and ".so" in shared:
        yield f"lib/{shared}", Path(sysconfig.get_config_var("LIBDIR")) / shared


def pip_files() -> Iterable[tuple[str, Path]]:
    """The same for the pip that is installed here."""
    for file in importlib.metadata.files("pip") or []:
        if file.parts[0] != ".." and file.suffix != ".pyc":
            yield f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages/{file}", file.locate()


def pack(channel: Path, name: str, version: str, depends: list[str], files: Iterable[tuple[str, Path]]) -> None:
    """Write one package of the channel."""
    here, paths = platform(), []
    folder = channel / here
    folder.mkdir(parents=True, exist_ok=True)
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": depends, "subdir": here}
    with tarfile.open(folder / f"{name}-{version}-0.tar.bz2", "w:bz2", compresslevel=1) as tar:
        for target, source in files:
            data = source.read_bytes()
            entry = tarfile.TarInfo(target)
            entry.size, entry.mode = len(data), source.stat().st_mode & 0o777
            tar.addfile(entry, io.BytesIO(data))
            told = {"_path": target, "path_type": "hardlink", "size_in_bytes": len(data)}
            paths.append(told | {"sha256": hashlib.sha256(data).hexdigest()})
        for target, content in (("index", index), ("paths", {"paths": paths, "paths_version": 1})):
            data = json.dumps(content).encode()
            entry = tarfile.TarInfo(f"info/{target}.json")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def make_base(base: Path) -> None:
    """Make the channel, ``bin/conda`` and ``bin/activate``."""
    from rattler.index import index_fs

    channel = base / "channel"
    version = ".".join(map(str, sys.version_info[:3]))
    pack(channel, "python", version, [], python_files())
    pack(channel, "pip", importlib.metadata.version("pip"), ["python"], pip_files())
    (channel / "noarch").mkdir()
    asyncio.run(index_fs(channel))
    (base / "bin").mkdir()
    words = [sys.executable, str(Path(__file__).resolve())]
    (base / "bin" / "conda").write_text(
        f'#!/bin/sh\nMIRROR_CONDA_BASE={shlex.quote(str(base))} exec {shlex.join(words)} "$@"\n'
    )
    (base / "bin" / "conda").chmod(0o755)
    (base / "bin" / "activate").write_text(ACTIVATE)


async def link(base: Path, specs: list[str], prefix: Path) -> None:
    """Solve and install packages of the channel; files are hard links into the cache where they can be."""
    from rattler import Channel, install, solve

    where = (base / "channel").as_uri()
    records = await solve([Channel(where)], specs, platforms=[platform(), "noarch"])
    await install(records, prefix, cache_dir=base / "pkgs", show_progress=False)


def create(base: Path, file: Path, prefix: Path) -> None:
    """Do as ``conda env create``: the packages, then pip with the ``pip:`` section."""
    if prefix.exists() and any(prefix.iterdir()):
        sys.exit(f"CondaValueError: prefix already exists: {prefix}")
    wanted = yaml.safe_load(file.read_text())["dependencies"]
    try:
        asyncio.run(link(base, [each for each in wanted if isinstance(each, str)], prefix))
    except Exception as error:  # rattler's own kinds; their text is what conda's would be
        sys.exit(f"{type(error).__name__}: {error}")
    lines = [line for each in wanted if isinstance(each, dict) for line in each["pip"]]
    if lines:
        with tempfile.NamedTemporaryFile("w", suffix=".requirements.txt") as listed:
            listed.write("\n".join(lines) + "\n")
            listed.flush()
            done = subprocess.run(
                [str(prefix / "bin" / "python"), "-m", "pip", "install", "-U", "-r", listed.name, "--exists-action=b"],
                capture_output=True,
                text=True,
            )
        if done.returncode:
            sys.exit(f"Pip subprocess error:\n{done.stderr}\nCondaEnvException: Pip failed")


def main(words: list[str]) -> None:
    """Answer one command line."""
    if words[0] == "make-base":
        return make_base(Path(words[1]).resolve())
    base = Path(os.environ["MIRROR_CONDA_BASE"])
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", type=Path)
    parser.add_argument("--prefix", type=Path)
    options, rest = parser.parse_known_args(words)
    rest = [word for word in rest if word not in ("--quiet", "--no-default-packages", "--yes", "-y")]
    if rest == ["--version"]:
        print(f"conda {VERSION}")
    elif rest == ["info", "--json"]:
        print(json.dumps({"conda_prefix": str(base), "root_prefix": str(base), "platform": platform()}))
    elif rest == ["config", "--get", "channel_priority", "--json"]:
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif rest == ["env", "create"]:
        create(base, options.file, options.prefix)
    elif rest == ["list", "--explicit"]:
        print("@EXPLICIT")
        for record in sorted((options.prefix / "conda-meta").glob("*.json")):
            print(json.loads(record.read_text())["url"])
    elif rest[0] != "clean":
        sys.exit(f"this conda of the tests does not know: {' '.join(words)}")
    return None


if __name__ == "__main__":
    code = 0
    try:
        main(sys.argv[1:])
    except SystemExit as ended:
        code = 1
        print(ended.code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # rattler's threads can crash the interpreter while it ends, when all is done
