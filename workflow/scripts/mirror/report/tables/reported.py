"""Figures reported elsewhere: the user's own table, shown beside ours and never among the compared."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...core.errors import InputError
from ...core.regular_file import refuse_irregular

COLUMNS = ("method", "cohort", "task", "protocol", "metric", "mean", "sd", "source")


def read_reported(path: str | Path | None) -> pd.DataFrame:
    """Read ``config/reported.csv``; an absent file or a bare header is an empty table.

    Returns
    -------
    DataFrame
        `COLUMNS`; mean and sd float64 (sd may be missing), the others text.

    Raises
    ------
    InputError
        A missing column, a mean that is no number, a figure without its source.
    """
    if path is None or not Path(path).exists():
        return pd.DataFrame(columns=list(COLUMNS))
    refuse_irregular(path, "table")
    table = pd.read_csv(path, dtype=str, comment="#", skipinitialspace=True)
    missing = [c for c in COLUMNS if c not in table]
    if missing:
        raise InputError(
            f"lacks the column {missing[0]}",
            file=path,
            remedy=f"its header is {','.join(COLUMNS)}; see docs/outputs.md",
        )
    for number, row in enumerate(table.itertuples(), start=2):
        for name in ("mean", "sd"):
            value = getattr(row, name)
            if (name == "mean" or isinstance(value, str)) and pd.isna(pd.to_numeric(value, errors="coerce")):
                raise InputError(f"{name} is `{value}`, not a number", file=path, row=f"row {number}")
        if not isinstance(row.source, str) or not row.source.strip():
            raise InputError(
                "a reported figure has no source", file=path, row=f"row {number}", remedy="name the paper and its table"
            )
    return table.assign(mean=pd.to_numeric(table["mean"]), sd=pd.to_numeric(table["sd"]))[list(COLUMNS)]
