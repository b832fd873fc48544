"""The doctor's table as text, and checks that cannot end one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..core.errors import InputError
from ..core.facts import Facts
from ..core.findings import Finding, State

MARK = {"ok": "ok", "warning": "WARN", "problem": "PROBLEM"}
REMEDY = "correct the file or the setting that is named here, then run doctor again"
"""For an error that says what is wrong and leaves open what to do."""


def guarded(what: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Run a check; an error becomes its row."""
    try:
        yield from check()
    except InputError as error:
        yield of_error(what, error)


def of_error(what: str, error: InputError, state: State = "problem") -> Finding:
    """An error as a row: its text without the remedy, and the remedy."""
    text = str(error)
    if error.remedy and text.endswith(f"; {error.remedy}"):
        return Finding(what, state, text[: -len(error.remedy) - 2], error.remedy)
    return Finding(what, state, text, REMEDY)


def findings_of(facts: Facts, what: str) -> Iterator[Finding]:
    """The facts of one input as rows: what was read as what, then what contradicts it."""
    for fact in facts:
        state: State = {"info": "ok", "warning": "warning", "error": "problem"}[fact.level]  # type: ignore[assignment]
        text = fact.text()
        remedy = fact.remedy if fact.remedy and text.endswith(fact.remedy) else ""
        detail = text[: -len(remedy)].rstrip("; ") if remedy else text
        yield Finding(what, state, detail, remedy or ("" if state == "ok" else REMEDY))


def render(findings: list[Finding]) -> str:
    """The findings as an aligned text table, problems last so that they stand above the prompt."""
    order = {"ok": 0, "warning": 1, "problem": 2}
    rows = sorted(findings, key=lambda f: order[f.state])
    width = max(len(f.what) for f in rows)
    return "\n".join(
        f"{MARK[f.state]:8}{f.what:{width}}  {f.detail}" + (f"; {f.remedy}" if f.remedy else "") for f in rows
    )
