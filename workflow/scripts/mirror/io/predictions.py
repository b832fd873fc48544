"""Prediction tables: the parquet files that carry every prediction and what produced it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.atomic import atomic_path
from ..core.errors import InputError
from ..core.version import __version__

log = logging.getLogger(__name__)

KEYS = ["cohort", "encoder", "scheme", "task", "method", "protocol", "modality", "head"]
REPLICATE = ["seed", "repeat", "draw"]
COMMON = [*KEYS, "repeat", "fold", "draw", "seed", "patient_id"]
OPTIONAL = ("penalty", "refits", "train_n", "train_events")
"""Columns that a method may leave out."""
SUBTYPING = [*COMMON, "y_true", "classes", "probabilities", *OPTIONAL]
SURVIVAL = [*COMMON, "time_days", "event", "risk", "risk_group", "survival_times", "survival", *OPTIONAL]
RETRIEVAL = [*COMMON, "rank", "candidates"]
COLUMNS = {"subtyping": SUBTYPING, "survival": SURVIVAL, "retrieval": RETRIEVAL}


_TYPES = {
    **{name: pa.string() for name in [*KEYS, "patient_id", "y_true", "risk_group"]},
    **{name: pa.int64() for name in ["repeat", "fold", "draw", "seed", "event", "candidates"]},
    **{name: pa.float64() for name in ["time_days", "risk", "rank", "penalty", "train_n", "train_events"]},
    **{name: pa.float64() for name in ["value_true", "value", "value_mean"]},
    **{name: pa.list_(pa.float64()) for name in ["probabilities", "survival_times", "survival"]},
    "classes": pa.list_(pa.string()),
    "refits": pa.list_(pa.float32()),
}


def columns_of(what: str | Sequence[str]) -> list[str]:
    """Columns of a table of predictions: as given, or of ``subtyping``, ``survival`` or ``retrieval``."""
    return COLUMNS[what] if isinstance(what, str) else list(what)


def empty(what: str | Sequence[str]) -> pd.DataFrame:
    """A prediction table without rows: what a method writes that could not run, its reason in the metadata."""
    return pd.DataFrame({name: pd.Series(dtype=object) for name in columns_of(what)})


def write_predictions(
    path: str | Path, frame: pd.DataFrame, what: str | Sequence[str], metadata: dict[str, Any]
) -> None:
    """Write predictions and where they come from, atomically.

    Parameters
    ----------
    path : path-like
        A ``.parquet`` file.
    frame : pandas.DataFrame
        Column order is put right.
    what : str or sequence of str
        See `columns_of`.
    metadata : dict
        Stored as JSON under the key ``mirror`` of the file's metadata, with the code's version.
    """
    columns = columns_of(what)
    frame = frame.assign(**{name: None for name in OPTIONAL if name in columns and name not in frame})
    missing = [name for name in columns if name not in frame]
    if missing:
        raise ValueError(f"predictions lack the columns {missing}")
    schema = pa.schema([(name, _TYPES.get(name, pa.float64())) for name in columns])
    table = pa.Table.from_pandas(frame[columns], schema=schema, preserve_index=False)
    metadata = {"code_version": __version__, **metadata}
    text = json.dumps(metadata, sort_keys=True, default=str, allow_nan=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"mirror": text.encode()})
    with atomic_path(path) as part:
        pq.write_table(table, part)


def read_predictions(path: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a prediction file.

    Returns
    -------
    frame : pandas.DataFrame
        List columns hold NumPy arrays.
    metadata : dict
        What `write_predictions` was given.

    Raises
    ------
    InputError
        The file is no prediction table.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"not a readable parquet file ({error})", file=path, remedy="delete it and rerun") from error
    missing = [name for name in COMMON if name not in table.column_names]
    if missing:
        raise InputError(f"lacks the columns {', '.join(missing)}", file=path, remedy="write it with this workflow")
    raw = (table.schema.metadata or {}).get(b"mirror", b"{}")
    return table.to_pandas(), json.loads(raw)


def fit_notes(paths: Sequence[str | Path]) -> pd.DataFrame:
    """What the prediction files say of their fits: covariates, fallbacks, left-out folds; one row per note.

    Returns
    -------
    DataFrame
        cohort, encoder, scheme, task, method, metric (always ``fit``), reason.
    """
    rows = []
    for path in paths:
        frame, metadata = read_predictions(path)
        if len(frame):
            keys = {name: frame[name].iloc[0] for name in ("cohort", "encoder", "scheme", "task", "method")}
            rows += [{**keys, "metric": "fit", "reason": str(note)} for note in metadata.get("notes", [])]
    return pd.DataFrame(rows, columns=["cohort", "encoder", "scheme", "task", "method", "metric", "reason"])


def read_all(paths: Sequence[str | Path]) -> dict[str, pd.DataFrame]:
    """All predictions of a run, one table per target. Files without rows are passed over."""
    frames: dict[str, list[pd.DataFrame]] = {}
    for path in paths:
        frame, _ = read_predictions(path)
        if len(frame):
            frames.setdefault(str(frame["task"].iloc[0]), []).append(frame)
    return {task: pd.concat(parts, ignore_index=True) for task, parts in frames.items()}


@dataclass
class Result:
    """Predictions of one method and target, and what produced them.

    Attributes
    ----------
    rows : pandas.DataFrame
    metadata : dict
        JSON-ready: patients seen in each fold, settings, sources, notes.
    columns : list of str
        Columns of the table, in order.
    """

    rows: pd.DataFrame
    metadata: dict[str, Any] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Names:
    """What every row of a prediction table repeats."""

    cohort: str
    encoder: str
    scheme: str
    method: str


def stamp(rows: pd.DataFrame, names: Names, **values: Any) -> pd.DataFrame:
    """Add the columns that are the same in every row."""
    return rows.assign(cohort=names.cohort, encoder=names.encoder, scheme=names.scheme, method=names.method, **values)
