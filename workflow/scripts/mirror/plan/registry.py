"""Which baselines there are, read off their files without importing them.

The DAG needs a baseline's data and tasks before any environment exists, so the arguments of the
decorator `mirror.baselines.baseline` are read from the syntax tree. Adding
a baseline is therefore adding one file.
"""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..core.errors import InputError

FOLDER = Path(__file__).resolve().parents[1] / "baselines" / "methods"


@dataclass(frozen=True)
class BaselineEntry:
    """One baseline.

    Attributes
    ----------
    modality : {"wsi", "rna", "fused", "clinical"}
        What it reads.
    tasks : tuple of str
        What it predicts.
    file : Path
        Where it is.
    network : bool
        Whether it trains a network, which needs torch.
    """

    modality: str
    tasks: tuple[str, ...]
    file: Path
    network: bool = False


@cache
def find_baselines(folder: Path = FOLDER) -> dict[str, BaselineEntry]:
    """Baselines by name, in the order of their files.

    Raises
    ------
    InputError
        A decorator whose name, tasks or modality is not written out.
    """
    out: dict[str, BaselineEntry] = {}
    for path in sorted(folder.glob("[a-z]*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
            for call in getattr(node, "decorator_list", []):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "baseline":
                    try:
                        told = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
                        out[ast.literal_eval(call.args[0])] = BaselineEntry(
                            told["modality"], tuple(told["tasks"]), path, bool(told.get("network", False))
                        )
                    except (ValueError, KeyError, IndexError) as error:
                        raise InputError(
                            "name, tasks or modality of a baseline is not written out",
                            file=path,
                            row=call.lineno,
                            remedy='@baseline("name", tasks=("survival",), modality="rna", description="...")',
                        ) from error
    return out


def check_baselines(names: list[str], source: str = "config") -> None:
    """Refuse names that no file has, naming the nearest."""
    known = find_baselines()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise InputError(
                f"`evaluation.baselines`: no baseline is called `{name}`",
                file=source,
                remedy=f"did you mean `{near[0]}`? Baselines: {', '.join(known)}" if near else None,
            )
