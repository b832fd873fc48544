"""Facts of an input: what was read as what, from where, and what contradicts it.

Every reader fills a `Facts` object. The step logs it, writes it to ``results/facts/{what}.json``, and
doctor and the report show the same rows. A contradiction is a fact of level ``warning`` (the run goes on)
or ``error`` (`Facts.refuse` raises `InputError`), by the rule that the reader states.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from .atomic import write_json
from .errors import InputError
from .printable import printable

Level = Literal["info", "warning", "error"]
Value = str | int | float | bool | None
LEVELS: tuple[str, ...] = get_args(Level)
_LONG = 300


def one_line(text: object, limit: int = _LONG) -> str:
    """Return ``text`` on one line, without control characters and cut in the middle at ``limit`` characters.

    Cells of user files reach logs and pages through this function, so that a name can neither break a line
    nor move a terminal's cursor.
    """
    line = printable(" ".join(str(text).split()))
    if len(line) > limit:
        keep = (limit - 5) // 2
        line = f"{line[:keep]} ... {line[-keep:]}"
    return line


def _plain(value: object) -> Value:
    """Return a JSON scalar: numpy scalars as Python's, lists joined by commas, anything else as text."""
    if value is None or isinstance(value, bool | str | int):
        return value
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", 0) == 0:
        return _plain(item())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, Iterable):
        return ", ".join(str(_plain(entry)) for entry in value)
    return str(value)


@dataclass(frozen=True)
class Fact:
    """One thing that was found in an input.

    Attributes
    ----------
    subject : str
        What the fact is about, two to five words: ``time column``, ``gene identifiers``.
    value : str, int, float, bool or None
        What was found. For a warning or an error, a sentence without a final full stop.
    source : str
        Where it was found, or the rule by which it was chosen: ``header of clinical.tsv``, ``clinical.time``.
    level : {"info", "warning", "error"}
    remedy : str
        What the user can do; empty for plain facts.
    examples : str
        A few identifiers of patients, slides or genes that show it; a report may leave them out.
    """

    subject: str
    value: Value
    source: str = ""
    level: Level = "info"
    remedy: str = ""
    examples: str = ""

    @property
    def shown(self) -> str:
        """The value on one line, with its examples."""
        line = one_line("" if self.value is None else self.value)
        return f"{line} (for example {one_line(self.examples, 120)})" if self.examples else line

    def text(self) -> str:
        """The fact as one line: ``subject: value (source); remedy``."""
        line = f"{self.subject}: {self.shown}"
        if self.source:
            line += f" ({self.source})"
        if self.remedy:
            line += f"; {self.remedy}"
        return one_line(line, 2 * _LONG)


class Facts:
    """What one reader found in one input.

    Parameters
    ----------
    about : str
        What was read, such as a file's path or ``slides of BRCA``; the ``file`` of errors.

    Examples
    --------
    >>> facts = Facts("clinical.tsv")
    >>> facts.note("time column", "os_days", "clinical.time")
    >>> facts.warn("follow-up", "36 of 45 living patients have none", "columns time and event", "add follow_up.tsv")
    >>> [fact.level for fact in facts]
    ['info', 'warning']
    """

    def __init__(self, about: str | Path, facts: Iterable[Fact] = ()) -> None:
        self.about = str(about)
        self.facts: list[Fact] = list(facts)
        self._known: set[Fact] = set(self.facts)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts)

    def __len__(self) -> int:
        return len(self.facts)

    def _add(
        self, subject: str, value: object, source: str, level: Level, remedy: str, examples: Iterable[object] = ()
    ) -> Fact:
        some = ", ".join(str(name) for _, name in zip(range(3), examples, strict=False))
        fact = Fact(str(subject), _plain(value), str(source), level, remedy, some)
        if fact not in self._known:
            self._known.add(fact)
            self.facts.append(fact)
        return fact

    def note(self, subject: str, value: object, source: str = "", *, examples: Iterable[object] = ()) -> None:
        """Record what was found or how something was read; of ``examples`` the first three are kept."""
        self._add(subject, value, source, "info", "", examples)

    def warn(
        self, subject: str, value: object, source: str = "", remedy: str = "", *, examples: Iterable[object] = ()
    ) -> None:
        """Record a contradiction or a loss that the run survives; of ``examples`` the first three are kept."""
        self._add(subject, value, source, "warning", remedy, examples)

    def refuse(
        self,
        subject: str,
        value: object,
        source: str = "",
        remedy: str = "",
        *,
        row: int | str | None = None,
        examples: Iterable[object] = (),
    ) -> NoReturn:
        """Record a contradiction that the run does not survive, and raise it.

        Raises
        ------
        InputError
            Always: names `about`, ``row``, the fact and its remedy.
        """
        fact = self._add(subject, value, source, "error", remedy, examples)
        problem = f"{fact.subject}: {fact.shown}" + (f" ({fact.source})" if fact.source else "")
        raise InputError(one_line(problem, 2 * _LONG), file=self.about, row=row, remedy=remedy or None)

    def extend(self, other: Iterable[Fact], prefix: str = "") -> None:
        """Take over the facts of another reader, each subject with ``prefix`` in front."""
        for fact in other:
            some = fact.examples.split(", ") if fact.examples else ()
            self._add(f"{prefix}{fact.subject}", fact.value, fact.source, fact.level, fact.remedy, some)

    def get(self, subject: str) -> Value:
        """Return the value of the first fact of this subject, None where there is none."""
        return next((fact.value for fact in self.facts if fact.subject == subject), None)

    @property
    def warnings(self) -> list[Fact]:
        """The facts of level ``warning`` and ``error``, in the order they were found."""
        return [fact for fact in self.facts if fact.level != "info"]

    @property
    def worst(self) -> Level:
        """The highest level among the facts; ``info`` where there is none."""
        levels = {fact.level for fact in self.facts}
        return "error" if "error" in levels else "warning" if "warning" in levels else "info"

    def table(self) -> str:
        """The facts as an aligned text table: subject, value, source; warnings with their remedy below."""
        rows = [(f.subject, f.shown, f.source) for f in self.facts if f.level == "info"]
        cells = [tuple(one_line(cell) for cell in row) for row in rows]
        widths = [max((len(row[i]) for row in cells), default=0) for i in range(2)]
        widths = [min(width, 60) for width in widths]
        lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c}".rstrip() for a, b, c in cells]
        lines += [f"{fact.level.upper()}: {fact.text()}" for fact in self.warnings]
        return "\n".join(lines)

    def log(self, logger: logging.Logger) -> None:
        """Print the table of plain facts at level INFO; each warning and error as a line of its own level."""
        plain = Facts(self.about, (fact for fact in self.facts if fact.level == "info"))
        if len(plain):
            table = plain.table().replace("\n", "\n    ")
            logger.info("%s was read as follows\n    %s", one_line(self.about), table)
        for fact in self.warnings:
            level = logging.WARNING if fact.level == "warning" else logging.ERROR
            logger.log(level, "%s: %s", one_line(self.about), fact.text())

    def to_dict(self) -> dict[str, Any]:
        """The facts as plain JSON values."""
        return {"about": self.about, "facts": [asdict(fact) for fact in self.facts]}

    def write(self, path: str | Path) -> None:
        """Write the facts as JSON, atomically."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: str | Path) -> Facts:
        """Read what `write` wrote.

        Raises
        ------
        InputError
            When the file is absent or is not a facts file.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            facts = [Fact(**entry) for entry in content["facts"]]
            about = str(content["about"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"is no file of facts ({type(error).__name__}: {error})", file=path, remedy="delete it and run again"
            ) from error
        if unknown := {fact.level for fact in facts} - set(LEVELS):
            raise InputError(f"has facts of an unknown level: {', '.join(sorted(map(str, unknown)))}", file=path)
        return cls(about, facts)
