"""Which code a step runs, as one hash, so that changed code reruns what it changes and nothing else.

A script's imports are followed through the library without running them; the hash is taken over
the syntax trees without docstrings, so that a comment or a docstring reruns nothing, and file
times play no part: a fresh clone beside old results recomputes nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]
PACKAGE = LIBRARY.name


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement under a node, and the node itself: a tenth of what `ast.walk` visits."""
    yield node
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        inner = getattr(node, name, None)
        for child in inner if isinstance(inner, list) else ():
            yield from _statements(child)


def _strip_docstrings(tree: ast.Module) -> ast.Module:
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree


def _candidates(dotted: list[str]) -> list[Path]:
    """The files that importing ``mirror.a.b`` may run: a module, or a package's ``__init__``."""
    base = LIBRARY.joinpath(*dotted)
    return [
        p for p in (base.with_suffix(".py") if dotted else base / "__init__.py", base / "__init__.py") if p.is_file()
    ]


@cache
def _parse(path: Path) -> tuple[str, frozenset[Path]]:
    """A file's own hash and the library files that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    inside = path.is_relative_to(LIBRARY)
    package = list(path.relative_to(LIBRARY).parent.parts) if inside else []
    found: set[Path] = set()
    for node in _statements(tree):
        names: list[list[str]] = []
        if isinstance(node, ast.Import):
            names = [a.name.split(".")[1:] for a in node.names if a.name.split(".")[0] == PACKAGE]
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            if node.level and inside:
                base = package[: len(package) - (node.level - 1)] + module
            elif not node.level and module and module[0] == PACKAGE:
                base = module[1:]
            else:
                continue
            names = [base] + [[*base, a.name] for a in node.names]
        for name in names:
            for depth in range(len(name) + 1):
                found.update(_candidates(name[:depth]))
    body = ast.dump(_strip_docstrings(tree), include_attributes=False)
    return hashlib.sha256(body.encode()).hexdigest(), frozenset(found - {path})


def imported_files(script: str | Path) -> set[Path]:
    """Every library file that ``script`` imports, directly or not, and the script itself."""
    todo, seen = [Path(script).resolve()], set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo.extend(_parse(path)[1])
    return seen


@cache
def code_hash(script: str | Path) -> str:
    """Twelve hexadecimal digits that change exactly when code that ``script`` runs changes."""
    script = Path(script).resolve()
    root = LIBRARY.parent
    parts = sorted((p.relative_to(root).as_posix(), _parse(p)[0]) for p in imported_files(script))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
