"""Reading a TorchScript archive before it runs: which operators its code calls."""

from __future__ import annotations

import ast
import io
import re
import zipfile
from pathlib import Path
from typing import Any

from ...core.errors import InputError

MAX_UNPACKED = 4 << 30
# torch.* and ops.aten.* that reach outside the tensors they are given
REACHES_OUT = {
    "save", "load", "from_file", "_save_parameter", "warn", "print", "Print", "from_blob", "open", "exec", "eval",
}  # fmt: skip
NAMESPACES = {"aten", "prim", "torchvision", "prims"}  # ops.{these}; others may load libraries or open files
SAFE_IMPORTS = re.compile(r"^(import|from) __torch__[\w.]*( as \w+)?( import [\w, ]+)?$")
BARE = {"print", "open", "exec", "eval", "compile", "input", "breakpoint", "__import__"}


def audit(data: bytes, path: Path, setting: str) -> bytes:
    """Refuse a TorchScript archive whose code opens, saves, prints, or calls what is not known; return a clean copy.

    Parameters
    ----------
    data : bytes
        The file.
    path, setting : Path, str
        For messages.

    Returns
    -------
    bytes
        An archive written anew from the entries that were read, so that torch sees nothing else.

    Raises
    ------
    InputError
        Names the operator and where it is called.
    """
    place: dict[str, Any] = {"file": path, "row": setting}
    remedy = "use a model without it, or weights of a known network (slides.tissue.method: safetensors)"
    whole = "save the model by torch.jit.script(model).save(path), or fetch the file again"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > MAX_UNPACKED:
                raise InputError("unpacks to more than 4 GB", **place, remedy=whole)
            names = [entry.filename for entry in entries]
            if len(set(names)) != len(names):
                raise InputError("holds two entries of one name", **place, remedy=whole)
            content = {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise InputError("is not a whole TorchScript file", **place, remedy=whole) from error
    code = {name: text for name, text in content.items() if "/code/" in name and name.endswith(".py")}
    if not code:
        raise InputError("is not a whole TorchScript file (it holds no code)", **place, remedy=whole)
    for name, text in code.items():
        found = _outside(text)
        if found:
            where = name.partition("/code/")[2]
            raise InputError(f"is refused: its code calls `{found}` ({where})", **place, remedy=remedy)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as copy:
        for name, entry in content.items():
            copy.writestr(name, entry)
    return out.getvalue()


def _outside(text: bytes) -> str | None:
    """The first thing in a code file that reaches outside, or that is not understood."""
    try:
        tree = ast.parse(text.decode("utf-8"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "code that cannot be parsed"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and not SAFE_IMPORTS.match(ast.unparse(node)):
            return ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BARE:
            return node.func.id
        if isinstance(node, ast.Attribute):
            chain = _chain(node)
            if chain is None:
                continue
            if chain[0] == "ops" and len(chain) > 1 and chain[1] not in NAMESPACES:
                return ".".join(chain[:3])
            if chain[:2] == ["torch", "classes"] or (chain[0] == "__torch__" and chain[1:3] == ["torch", "classes"]):
                return ".".join(chain)
            if chain[0] in ("torch", "ops", "warnings") and chain[-1] in REACHES_OUT:
                return ".".join(chain)
            if chain[0] == "warnings":
                return ".".join(chain)
    return None


def _chain(node: ast.Attribute) -> list[str] | None:
    """The dotted names of an attribute, outermost first; None where it does not start with a name."""
    parts: list[str] = []
    at: ast.expr = node
    while isinstance(at, ast.Attribute):
        parts.append(at.attr)
        at = at.value
    return [*reversed([*parts, at.id])] if isinstance(at, ast.Name) else None
