"""Each room of the library imports only rooms that come before it (CONTRIBUTING.md lists them), without circles."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from rules import ROOT

LIBRARY = ROOT / "workflow" / "scripts" / "mirror"
# Inside a room, where the order of its folders matters.
INNER = {"slides": ("reading", "tissue", "tiling")}
# Only what Python and Snakemake itself bring, so that a DAG is built in any environment.
STANDARD_LIBRARY_ONLY = ("core", "plan")


def rooms() -> list[str]:
    """The rooms in import order, as CONTRIBUTING.md lists them."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([a-z_]+)` \|", text, flags=re.M)


def module_name(path: Path) -> str:
    parts = list(path.relative_to(LIBRARY.parent).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(LIBRARY.rglob("*.py"))}


def imports(name: str) -> set[str]:
    """Modules of the library that a module imports, at its top or inside its functions."""
    path = FILES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            base = package[: len(package) - node.level + 1] + module if node.level else module
            names = [".".join(base), *(".".join([*base, a.name]) for a in node.names)]
        else:
            continue
        found |= {n for n in names if n in FILES and n != name}
    # `from .package import module` names the package too; its own code runs, but what is meant is the module.
    return {n for n in found if n != "mirror" and not any(other.startswith(n + ".") for other in found)}


GRAPH = {name: imports(name) for name in FILES}


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_contributing_lists_every_room():
    there = {p.name for p in LIBRARY.iterdir() if p.is_dir() and p.name != "__pycache__"} | {
        p.stem for p in LIBRARY.glob("*.py") if p.stem != "__init__"
    }
    assert len(rooms()) == len(set(rooms())), "a room is listed twice"
    assert there <= set(rooms()), f"not in CONTRIBUTING.md: {sorted(there - set(rooms()))}"


@pytest.mark.parametrize("name", [n for n in FILES if n != "mirror"])
def test_a_room_imports_only_rooms_before_it(name):
    order = rooms()
    later = [m for m in GRAPH[name] if order.index(room(m)) > order.index(room(name))]
    assert not later, f"{name} imports {later}: {room(name)} comes before"
    inner = INNER.get(room(name), ())
    here = name.split(".")[2] if len(name.split(".")) > 2 else ""
    for other in GRAPH[name]:
        there = other.split(".")[2] if room(other) == room(name) and len(other.split(".")) > 2 else ""
        if here in inner and there in inner:
            assert inner.index(there) <= inner.index(here), f"{name} imports {other}"


def test_there_is_no_circle():
    state: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert state.get(name) != 1, f"circle: {' -> '.join([*path[path.index(name) :], name])}"
        if name in state:
            return
        state[name] = 1
        for other in sorted(GRAPH[name]):
            visit(other, (*path, name))
        state[name] = 2

    for name in FILES:
        visit(name, ())


@pytest.mark.parametrize("name", [n for n in FILES if room(n) in STANDARD_LIBRARY_ONLY])
def test_what_builds_the_dag_needs_no_package(name):
    top = ast.parse(FILES[name].read_text(encoding="utf-8")).body
    names = [a.name.split(".")[0] for node in top if isinstance(node, ast.Import) for a in node.names]
    names += [n.module.split(".")[0] for n in top if isinstance(n, ast.ImportFrom) and not n.level and n.module]
    heavy = {"torch", "pandas", "scanpy", "anndata", "pydantic", "h5py"} & set(names)
    assert not heavy, f"{name} imports {sorted(heavy)}"
