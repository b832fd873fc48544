"""Which kinds of target there are, read off their files without importing them.

The DAG needs a kind's columns, figures and settings where the packages that fit its heads are not installed. The
arguments of the decorator `mirror.targets.registry.kind` are therefore read from the syntax tree, and adding a kind is
adding one file to ``mirror/targets``.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ..core.errors import InputError

FOLDER = Path(__file__).resolve().parents[1] / "targets"


@dataclass(frozen=True)
class KindEntry:
    """One kind of target.

    Attributes
    ----------
    file : Path
    section : str
        Section of the report.
    primary : str
        The one metric that decides; declared before any value is seen.
    chance : float or None
        The primary metric without any information.
    metrics : tuple of str
        Columns of the table.
    more : tuple of str
        Columns of the second table.
    more_title : str
        What the second table shows.
    few : tuple of str
        Columns of the few-shot table.
    few_note : str
        Who is drawn into a few-shot set; ``{k}`` is filled in with the number of shots of the table.
    figures : dict
        Figure to its title; its caption is ``workflow/report/{figure}.rst``. Drawn by ``draw``.
    draw : str
        Module and function that draws them: ``mirror.report.figures.x:draw``.
    settings : tuple of str
        Keys of a target's settings that this kind takes, beside those that all take.
    required : tuple of str
        Keys of which one at least must be given; none: all may be left out.
    labels : bool
        Whether it has classes, as gene selection and the audit of sites need.
    """

    file: Path
    section: str
    primary: str
    chance: float | None = None
    metrics: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    more_title: str = ""
    few: tuple[str, ...] = ()
    few_note: str = ""
    figures: dict[str, str] = field(default_factory=dict)
    draw: str = ""
    settings: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    labels: bool = False


@cache
def find_kinds(folder: Path = FOLDER) -> dict[str, KindEntry]:
    """Kinds by name, in the order of their files.

    Raises
    ------
    InputError
        A decorator with an argument that is not written out.
    """
    out: dict[str, KindEntry] = {}
    for path in sorted(folder.glob("[a-z]*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
            for call in getattr(node, "decorator_list", []):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "kind":
                    try:
                        words = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
                        out[ast.literal_eval(call.args[0])] = KindEntry(path, **words)
                    except (ValueError, TypeError, IndexError) as error:
                        raise InputError(
                            "an argument of a target kind's decorator is missing or not written out",
                            file=path,
                            row=call.lineno,
                            remedy='@kind("name", section="Survival", primary="c_index", ...)',
                        ) from error
    return out
