"""A matrix in a parquet file, either way round, in bounded memory."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ...config.sources import ExpressionSource
from ...core.errors import InputError
from ...core.memory import fits
from ...core.regular_file import require_regular
from . import orientation as way
from .base import Blocks, RawMatrix, kind_from_name
from .blocks import choose_block
from .samples import SampleSelector

_CELLS = 4 << 20
SUFFIX = "_rnaseq"


def read(source: ExpressionSource, select: SampleSelector, usual: way.Direction | None = None) -> RawMatrix:
    """Read a matrix; with genes in rows only the cohort's columns leave the disk.

    The identifiers down the side are the stored pandas index, or the first text column.

    Raises
    ------
    InputError
        When the file is damaged, has no identifiers, or no sample belongs to the cohort.
    """
    path = source.path
    require_regular(path, "expression file")
    try:
        with pq.ParquetFile(path) as file:
            return _read(file, source, select, usual)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"damaged parquet file ({str(error).splitlines()[0]})", file=path) from error


def _read(
    file: pq.ParquetFile, source: ExpressionSource, select: SampleSelector, usual: way.Direction | None
) -> RawMatrix:
    path, schema = source.path, file.schema_arrow
    if repeated := [name for name, n in Counter(schema.names).items() if n > 1]:
        raise InputError(f"has several columns named {repeated[0]!r}", file=path, remedy="make the names unique")
    side = side_column(file, path, select.knows)
    ids = [str(i).strip() for i in file.read(columns=[side]).column(0).to_pylist()]
    names = [name for name in schema.names if name != side]
    direction = way.settle(source, names, ids[:500], side, select.knows, usual)
    notes: dict[str, Any] = {"orientation": direction}
    numeric = {name for name in names if _is_number(schema.field(name).type)}
    left_out = [name for name in names if name not in numeric]
    if direction == "genes_by_samples":
        annotations = {
            name: role
            for name in left_out
            for role, known in way.ANNOTATIONS.items()
            if role and name.strip().lower() in known
        }
        names = [name for name in names if name in numeric]
        notes["columns_left_out"] = [name for name in left_out if name not in annotations]
        plain, names = choose_block(names, names, source, select.knows, notes)
        chosen = select(plain)
        select.require(len(chosen), path)
        wanted = [names[i] for i in chosen]
        fits(4 * len(wanted) * file.metadata.num_rows, path, f"a matrix of {len(wanted)} samples", 0.5)
        blocks = Blocks()
        for batch in file.iter_batches(max(64, _CELLS // len(wanted)), columns=wanted):
            blocks.add(_floats(batch, wanted))
        genes = pd.DataFrame({"id": ids})
        for name, role in annotations.items():
            genes[role] = [str(v or "") for v in file.read(columns=[name]).column(0).to_pylist()]
        return RawMatrix(blocks.join(len(wanted)), [plain[i] for i in chosen], genes, None, notes, kind_from_name(path))

    if unknown := [name for name in left_out if not (way.is_clinical(name) or name.startswith("__index"))]:
        raise InputError(f"column {unknown[0]!r} is not numeric", file=path, remedy="remove the column")
    notes["columns_left_out"] = [name for name in names if name not in numeric or way.is_clinical(name)]
    names = [name for name in names if name not in notes["columns_left_out"] and not name.startswith("__index")]
    if rna := [name for name in names if name.lower().endswith(SUFFIX)]:  # PORPOISE's columns, saved as parquet
        notes["columns_left_out"] += [name for name in names if name not in set(rna)]
        names = rna
    genes = pd.DataFrame({"id": [name[: -len(SUFFIX)] for name in names] if rna else names})
    notes["columns_unlike_genes"] = way.unlike_genes(genes["id"])
    ids, lines = choose_block(ids, list(range(len(ids))), source, select.knows, notes)
    picked = select(ids)
    select.require(len(picked), path)
    chosen = np.asarray(lines, np.int64)[picked]
    fits(4 * len(chosen) * len(names), path, f"a matrix of {len(chosen)} samples and {len(names)} genes", 0.5)
    values = np.empty((len(chosen), len(names)), np.float32)
    row = 0
    done = 0
    for batch in file.iter_batches(max(8, _CELLS // len(names)), columns=names):
        inside = chosen[(chosen >= row) & (chosen < row + batch.num_rows)] - row
        if len(inside):
            values[done : done + len(inside)] = _floats(batch.take(pa.array(inside)), names)
        done += len(inside)
        row += batch.num_rows
    return RawMatrix(values, [ids[i] for i in picked], genes, None, notes, kind_from_name(path))


def side_column(file: pq.ParquetFile, path: str, known: way.Known) -> str:
    """Return the column of identifiers: the one with most barcodes or known patients, else by its name.

    Candidates are the columns named as samples or patients, the stored pandas index, and the first text column.
    """
    schema = file.schema_arrow
    stored = (schema.metadata or {}).get(b"pandas")
    index = [name for name in (json.loads(stored)["index_columns"] if stored else []) if name in schema.names]
    text = [name for name in schema.names if _is_text(schema.field(name).type)]
    named = [n for known_as in (way.SAMPLE_ID_NAMES, way.PATIENT_ID_NAMES) for n in schema.names
             if n.strip().lower() in known_as and (n in text or pa.types.is_integer(schema.field(n).type))]  # fmt: skip
    candidates = list(dict.fromkeys([*named, *index, *text[:1]]))
    if not candidates:
        raise InputError("has no index and no text column to name its rows", file=path, remedy="save it with its index")
    head = next(file.iter_batches(500, columns=candidates))
    cells = [[str(i).strip() for i in head.column(head.schema.get_field_index(n)).to_pylist()] for n in candidates]
    return candidates[way.best_identifiers(list(zip(candidates, cells, strict=True)), known)]


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _floats(batch: pa.RecordBatch, names: list[str]) -> np.ndarray:
    block = np.empty((batch.num_rows, len(names)), np.float32)
    for number, name in enumerate(names):
        block[:, number] = batch.column(batch.schema.get_field_index(name)).to_numpy(zero_copy_only=False)
    return block
