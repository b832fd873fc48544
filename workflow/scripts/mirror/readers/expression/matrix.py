"""A plain matrix, CSV, TSV or parquet, either way round. Also the reference implementation's pruned CSV."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...config.sources import ExpressionSource
from ...core.errors import InputError
from ..header import Header, read_header
from ..opening import container
from . import orientation as way
from .base import RawMatrix, kind_from_name
from .blocks import choose_block
from .delimited import decimal_comma, is_number, read_columns, read_ids, read_rows
from .samples import SampleSelector


def read(source: ExpressionSource, select: SampleSelector, usual: way.Direction | None = None) -> RawMatrix:
    """Read a matrix; only the selected samples are turned into numbers.

    ``usual`` is the orientation to assume where it cannot be told (formats that have a usual one).

    With genes in rows the first column names them, further annotation columns (``gene_name``, ``gene_type``,
    ``Entrez_Gene_Id`` ...) go to ``genes``. With samples in rows the identifiers are in a column named so, or
    in the first; well-known columns that are no genes (``age``, ``site`` ...) are left out and reported.

    Raises
    ------
    InputError
        When the orientation cannot be told, a cell is no number, or no sample belongs to the cohort.
    """
    if container(source.path) == "parquet":
        from .parquet import read as read_parquet

        return read_parquet(source, select, usual)
    header = read_header(source.path)
    columns, first = header.columns, header.first
    start = int(way.skips_row_numbers(columns, first, select.knows))
    if len(columns) < start + 2:
        raise InputError(
            f"has {len(columns)} column(s), so it is no matrix (delimiter read as {header.delimiter!r})",
            file=source.path,
            remedy="separate columns by tabs, commas or semicolons",
        )
    down = [fields[start] for fields in first]
    direction = way.settle(source, columns[start + 1 :], down, columns[start], select.knows, usual)
    notes: dict[str, Any] = {"orientation": direction, "comment_lines": len(header.comments)}
    if direction == "genes_by_samples":
        text, samples = split_annotations(columns, first, start, select, source.path, header.decimal)
        names = [columns[position] for position in samples]
        names, samples = choose_block(names, samples, source, select.knows, notes)
        chosen = select(names)
        select.require(len(chosen), source.path)
        notes["columns_unlike_samples"] = way.unlike_samples([names[i] for i in chosen], select.knows)
        values, texts = read_columns(source.path, header, list(text), [samples[i] for i in chosen], notes)
        _check_gct(header, values.shape[1], source.path)
        genes = pd.DataFrame({text[position]: texts[position] for position in text if text[position]})
        return RawMatrix(values, [names[i] for i in chosen], genes, None, notes, kind_from_name(source.path))

    id_column, genes_at, left_out = split_metadata(columns, first, start, select, source.path, header.decimal)
    notes["columns_left_out"] = left_out
    notes["columns_unlike_genes"] = way.unlike_genes([columns[position] for position in genes_at])
    ids = [fields[0] for fields in read_ids(source.path, header, [id_column])]
    ids, lines = choose_block(ids, list(range(len(ids))), source, select.knows, notes)
    chosen = select(ids)
    select.require(len(chosen), source.path)
    wanted = np.asarray(lines, np.int64)[chosen]
    values = read_rows(source.path, header, id_column, genes_at, wanted, notes)
    genes = pd.DataFrame({"id": [columns[position] for position in genes_at]})
    return RawMatrix(values, [ids[i] for i in chosen], genes, None, notes, kind_from_name(source.path))


def _check_gct(header: Header, rows: int, file: str | Path) -> None:
    """Refuse a GCT file with fewer rows than its second line announces: it is cut."""
    sizes = next(
        (after for line, after in itertools.pairwise(header.comments) if line.startswith(("#1.2", "#1.3"))), ""
    )
    announced = sizes.split()[:1]
    if announced and announced[0].isdigit() and rows < int(announced[0]):
        raise InputError(
            f"announces {announced[0]} rows and holds {rows}: it is cut",
            file=file,
            remedy="download or export it again",
        )


def split_annotations(
    columns: Sequence[str],
    first: Sequence[Sequence[str]],
    start: int,
    select: SampleSelector,
    file: str | Path,
    decimal: str = ".",
) -> tuple[dict[int, str], list[int]]:
    """Tell annotation columns from samples in a table with genes in rows.

    Returns
    -------
    text : dict
        Position -> name in ``genes`` (``id`` for the first; ``""`` for one left out is not read).
    samples : list of int
        Positions of the samples.
    """
    text, samples = {start: "id"}, []
    for position in range(start + 1, len(columns)):
        name = columns[position].strip().lower()
        role = next((role for role, names in way.ANNOTATIONS.items() if name in names), None)
        if role is not None and not select.knows(columns[position]):
            if role and role not in text.values():
                text[position] = role
            continue
        bad = next((fields[position] for fields in first if not is_number(fields[position], decimal)), None)
        if bad is not None:
            raise InputError(
                f"column {columns[position]!r} holds {bad!r}, which is not a number{decimal_comma(bad)}",
                file=file,
                remedy="remove the column, or set `orientation` if the table is the other way round",
            )
        samples.append(position)
    return text, samples


def split_metadata(
    columns: Sequence[str],
    first: Sequence[Sequence[str]],
    start: int,
    select: SampleSelector,
    file: str | Path,
    decimal: str = ".",
) -> tuple[int, list[int], list[str]]:
    """Tell identifiers and metadata from genes in a table with samples in rows.

    Candidates for identifiers are the columns named so and the first, which may be an index without a name.

    Returns
    -------
    id_column : int
    genes : list of int
        Positions of the genes.
    left_out : list of str
        Columns left out by name.
    """
    lower = [column.strip().lower() for column in columns]
    named = [p for names in (way.SAMPLE_ID_NAMES, way.PATIENT_ID_NAMES) for p in range(start, len(lower))
             if lower[p] in names]  # fmt: skip
    candidates = list(dict.fromkeys([*named, start]))
    cells = [(columns[position], [fields[position] for fields in first]) for position in candidates]
    id_column = candidates[way.best_identifiers(cells, select.knows)]
    genes, left_out = [], []
    for position in range(start, len(columns)):
        if position == id_column:
            continue
        if way.is_clinical(columns[position]):
            left_out.append(columns[position])
            continue
        bad = next((fields[position] for fields in first if not is_number(fields[position], decimal)), None)
        if bad is not None:
            raise InputError(
                f"column {columns[position]!r} holds {bad!r}, which is not a number{decimal_comma(bad)}",
                file=file,
                remedy="remove columns that are not genes, or set `orientation` if the table is the other way round",
            )
        genes.append(position)
    return id_column, genes, left_out
