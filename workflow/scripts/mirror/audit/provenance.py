"""Who was seen by whatever was fitted: read from the fitted objects themselves.

Every object that learns from patients (gene sets, transforms, checkpoints, embeddings,
predictions) stores the patients it saw. The readers here turn each into `Fitted` records, which
`mirror.audit.checks.check_fitted` compares with the folds.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..config.audit import CheckName
from ..core.errors import InputError

_FOLD = re.compile(r"(?<![A-Za-z0-9])r(\d+)f(\d+)(?![0-9])")
SELECTION_KEYS = ("selection_patients", "validation_patients", "watched", "patients_watched", "inner_validation")
"""Names under which objects record the patients on whom an epoch or a penalty was chosen."""
_PROBE_KEYS: dict[str, CheckName] = {
    "time_bins": "time_bins",
    "label_map": "label_map",
    "scaling": "scaling",
    "gene_selection": "gene_selection",
    "pretraining": "pretraining",
    "probe": "probe",
}


@dataclass(frozen=True)
class Fitted:
    """One thing that was fitted for one fold.

    Attributes
    ----------
    check : str
        The check it belongs to, for example ``scaling``.
    repeat, fold : int
        The fold it serves.
    patients : tuple of str or None
        Patients it saw; None where the object keeps no record, which counts as a failure.
    source : str
        File it was read from.
    """

    check: CheckName
    repeat: int
    fold: int
    patients: tuple[str, ...] | None
    source: str


def fold_of(path: str | Path) -> tuple[int, int]:
    """Repeat and fold from a file name with ``r{repeat}f{fold}`` in it.

    Raises
    ------
    InputError
        The name has no fold.
    """
    found = _FOLD.findall(Path(path).name.replace("_", "-"))
    if not found:
        raise InputError("the file's name says no fold (r0f0, r0f1, ...)", file=path)
    return int(found[-1][0]), int(found[-1][1])


def read_fitted(path: str | Path) -> list[Fitted]:
    """Records of any fitted object, by the kind of its file.

    ``.npz`` transforms (scaling, gene selection), ``.json`` notes of gene sets, ``.safetensors``
    checkpoints (pre-training, epoch selection), ``.h5ad`` embeddings (pre-training) and
    ``.parquet`` predictions (probe, time bins, label map, epoch selection).

    Raises
    ------
    InputError
        An unknown kind of file, or one that cannot be read.
    """
    readers = {
        ".npz": _transform,
        ".json": _gene_set,
        ".safetensors": _checkpoint,
        ".h5ad": _embeddings,
        ".parquet": _predictions,
    }
    reader = readers.get(Path(path).suffix)
    if reader is None:
        raise InputError(f"no fitted object is stored as {Path(path).suffix or 'a file without suffix'}", file=path)
    return reader(Path(path))


def read_all_fitted(paths: Iterable[str | Path]) -> list[Fitted]:
    """`read_fitted` of many files."""
    return [record for path in paths for record in read_fitted(path)]


def _names(values: Any) -> tuple[str, ...] | None:
    """A list of patients, or None where there is none."""
    if values is None:
        return None
    if isinstance(values, dict):
        # A record by role, for example {"train": [...], "seen": [...]}.
        return tuple(str(name) for part in values.values() for name in (part or []))
    return tuple(str(name) for name in values)


def _transform(path: Path) -> list[Fitted]:
    repeat, fold = fold_of(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            saw = _names(stored["patients"]) if "patients" in stored else None
            chose = _names(stored["selected_with"]) if "selected_with" in stored else ()
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"not a fitted transform ({error})", file=path, remedy="delete it and run again") from error
    return [
        Fitted("scaling", repeat, fold, saw, str(path)),
        Fitted("gene_selection", repeat, fold, chose, str(path)),
    ]


def _gene_set(path: Path) -> list[Fitted]:
    repeat, fold = fold_of(path)
    note = _json(path.read_text(encoding="utf-8"), path)
    return [Fitted("gene_selection", repeat, fold, _names(note.get("patients")), str(path))]


def _selected(note: dict[str, Any], repeat: int, fold: int, source: str) -> list[Fitted]:
    """Records of what an epoch or a penalty was chosen on; none where nothing was chosen."""
    return [
        Fitted("epoch_selection", repeat, fold, _names(note[key]), source) for key in SELECTION_KEYS if note.get(key)
    ]


def _checkpoint(path: Path) -> list[Fitted]:
    from safetensors import SafetensorError, safe_open

    repeat, fold = fold_of(path)
    try:
        with safe_open(path, framework="np") as stored:
            text = (stored.metadata() or {}).get("mirror", "{}")
    except (OSError, SafetensorError) as error:
        raise InputError(f"not a checkpoint ({error})", file=path, remedy="delete it and run again") from error
    note = _json(text, path)
    # Weights that training started from may have seen anybody.
    unknown = not (note.get("started_from") or {}).get("patients_known", True)
    saw = None if unknown else _names(note.get("patients"))
    return [Fitted("pretraining", repeat, fold, saw, str(path)), *_selected(note, repeat, fold, str(path))]


def _embeddings(path: Path) -> list[Fitted]:
    import h5py

    repeat, fold = fold_of(path)
    try:
        with h5py.File(path) as stored:
            raw = stored["uns/mirror"][()] if "uns/mirror" in stored else b"{}"
    except OSError as error:
        raise InputError(f"not an embeddings file ({error})", file=path, remedy="delete it and run again") from error
    note = _json(raw.decode() if isinstance(raw, bytes) else str(raw), path)
    records = [Fitted("pretraining", repeat, fold, _names(_first(note, "patients", "patients_seen")), str(path))]
    return records + _selected(note, repeat, fold, str(path))


def _predictions(path: Path) -> list[Fitted]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"not a prediction table ({error})", file=path, remedy="delete it and run again") from error
    note = _json((schema.metadata or {}).get(b"mirror", b"{}").decode(), path)
    fitted_on_training: CheckName = "time_bins" if "risk" in schema.names else "label_map"
    by_fold = note.get("patients")
    if not isinstance(by_fold, dict):
        raise InputError(
            "its metadata does not say whom each fold's probe saw",
            file=path,
            remedy="run the evaluation again",
        )
    records: list[Fitted] = []
    for name, entry in by_fold.items():
        repeat, fold = fold_of(name)
        roles = entry if isinstance(entry, dict) else {"train": entry}
        train = _names(roles.get("train"))
        records.append(Fitted("probe", repeat, fold, train, str(path)))
        # Bins and label maps come from the probe's training patients unless a record says otherwise.
        explicit = {key for key in _PROBE_KEYS if key in roles}
        if fitted_on_training not in explicit:
            records.append(Fitted(fitted_on_training, repeat, fold, train, str(path)))
        records += [Fitted(_PROBE_KEYS[key], repeat, fold, _names(roles[key]), str(path)) for key in sorted(explicit)]
        encoder = roles.get("encoder") or {}
        seen = _first(encoder, "patients", "patients_seen")
        if seen is not None:
            records.append(Fitted("pretraining", repeat, fold, _names(seen), str(path)))
        records += _selected(roles, repeat, fold, str(path))
    return records


def _first(note: dict[str, Any], *keys: str) -> Any:
    return next((note[key] for key in keys if note.get(key) is not None), None)


def _json(text: str, path: Path) -> dict[str, Any]:
    try:
        note = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"its record is not JSON ({error})", file=path, remedy="delete it and run again") from error
    return note if isinstance(note, dict) else {}
