"""Errors a user can act on."""

from __future__ import annotations

from pathlib import Path

from .printable import printable


class InputError(Exception):
    """Input that cannot be used; says which file, which row and what to do.

    Parameters
    ----------
    problem : str
        What is wrong, one clause, without a final full stop.
    file : path-like, optional
        The file at fault.
    row : int or str, optional
        The row, column or identifier at fault.
    remedy : str, optional
        What the user should do.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        row: int | str | None = None,
        remedy: str | None = None,
    ) -> None:
        where = "" if file is None else f"{file}"
        if row is not None:
            where += f" ({row})" if where else f"{row}"
        text = f"{where}: {problem}" if where else problem
        if remedy:
            text += f"; {remedy}"
        super().__init__(printable(" ".join(text.split())))
        self.problem, self.file, self.row, self.remedy = problem, file, row, remedy
