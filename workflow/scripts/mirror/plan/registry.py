"""Which baselines there are, read off their files without importing them.

The DAG needs a baseline's data, kinds of target and resources, and the report its name, where its packages are
not installed. The arguments of the decorator `mirror.baselines.baseline` are therefore read from the syntax tree, and
adding a baseline is adding one file.
"""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass, field
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
    kinds : tuple of str
        Kinds of target that it predicts.
    file : Path
        Where it is.
    title : str
        Name in tables and figures; without one the baseline's name with blanks.
    order : int
        Place in tables and figures, smallest first.
    heads : dict
        Heads of its own and what they are called where a method has several.
    gpu : bool
        Whether a job waits for a GPU, where there is one.
    network : bool
        Whether it trains a network, which needs torch.
    """

    modality: str
    kinds: tuple[str, ...]
    file: Path
    title: str = ""
    order: int = 1000
    heads: dict[str, str] = field(default_factory=dict)
    gpu: bool = False
    network: bool = False


@cache
def find_baselines(folder: Path = FOLDER) -> dict[str, BaselineEntry]:
    """Baselines by name, in the order of their files.

    Raises
    ------
    InputError
        A decorator without name, kinds or modality, or with an argument that is not written out.
    """
    out: dict[str, BaselineEntry] = {}
    for path in sorted(folder.glob("[a-z]*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
            for call in getattr(node, "decorator_list", []):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "baseline":
                    try:
                        words = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
                        name = ast.literal_eval(call.args[0])
                        out[name] = BaselineEntry(
                            words["modality"],
                            tuple(words["kinds"]),
                            path,
                            str(words.get("title", "")) or name.replace("_", " "),
                            int(words.get("order", 1000)),
                            dict(words.get("heads") or {}),
                            bool(words.get("gpu", False)),
                            bool(words.get("network", False)),
                        )
                    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
                        raise InputError(
                            "an argument of a baseline's decorator is missing or not written out",
                            file=path,
                            row=call.lineno,
                            remedy='@baseline("name", kinds=("survival",), modality="rna", description="...")',
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
