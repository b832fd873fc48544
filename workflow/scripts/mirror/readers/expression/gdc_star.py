"""GDC STAR counts: one ``*.augmented_star_gene_counts.tsv`` a sample, nested one folder a file id or not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pv

from ...config.sources import ExpressionSource
from ...core.barcodes import parse
from ...core.errors import InputError
from ..bounded import ends_in_a_line, table_limit
from ..header import read_header
from ..opening import open_binary
from ..tables import missing_column
from .base import RawMatrix
from .samples import SampleSelector, read_sheet

PATTERN = "*star_gene_counts.tsv*"
_SUMMARY = "N_"
_SOME = 100  # genes from which a file is whole; excerpts and tests may have any number


def read(source: ExpressionSource, select: SampleSelector) -> RawMatrix:
    """Read one column of every wanted file.

    The sample of a file is found in the sample sheet (by file name, then by the folder named as the file id), a
    sheet named ``gdc_sample_sheet*.tsv`` in or beside the folder being found by itself, or else from a TCGA
    barcode in the file's or folder's name. The ``#`` line and the ``N_*`` summary rows are dropped.

    Genes that a file lacks are missing there (NaN), and so under the ``missing`` rule.

    Raises
    ------
    InputError
        When there are no files, a file is damaged or broken off, or a column is missing.
    """
    root = Path(source.path)
    files = sorted(root.rglob(PATTERN)) if root.is_dir() else [root]
    files = [file for file in files if not file.name.startswith(".") and not file.name.endswith(".partial")]
    if not files:
        raise InputError("the folder holds no *.augmented_star_gene_counts.tsv", file=root)
    notes: dict[str, Any] = {"files": len(files), "column": source.column}
    if not select.sheet and root.is_dir() and (sheet := _find_sheet(root)):
        select.sheet = read_sheet(str(sheet))
        notes["sample_sheet"] = sheet.name
    names: list[str] = []
    named_by: Counter[str] = Counter()
    for file in files:
        name, how = _sample_of(file, root, select)
        names.append(name)
        named_by[how] += 1
    notes["samples_named_by"] = dict(named_by)
    chosen = select(names)
    select.require(len(chosen), str(root))

    genes: pd.DataFrame | None = None
    rows: list[np.ndarray] = []
    models: Counter[str] = Counter()
    others: dict[int, pd.Series] = {}
    for number, position in enumerate(chosen):
        table, model = _read_file(files[position], source.column)
        models[model] += 1
        if genes is None:
            genes = table[["id", "symbol", "gene_type"]]
        if len(table) == len(genes) and np.array_equal(table["id"].to_numpy(), genes["id"].to_numpy()):
            rows.append(table["value"].to_numpy(np.float32))
        else:  # another gene model, or a file with fewer rows
            if table["id"].duplicated().any():
                raise InputError("names a gene twice", file=files[position], remedy="download it again")
            others[number] = table.set_index("id")["value"]
            rows.append(np.empty(0, np.float32))
            new = table[~table["id"].isin(genes["id"])]
            genes = pd.concat([genes, new[["id", "symbol", "gene_type"]]], ignore_index=True)
    assert genes is not None
    _refuse_broken(rows, others, genes["id"], files, chosen)
    values = np.full((len(chosen), len(genes)), np.nan, np.float32)
    for number, row in enumerate(rows):
        if number in others:
            values[number] = others[number].reindex(genes["id"]).to_numpy(np.float32)
        else:
            values[number, : len(row)] = row
        rows[number] = np.empty(0, np.float32)
    notes |= {"gene_models": dict(models), "files_with_other_genes": len(others)}
    return RawMatrix(values, [names[i] for i in chosen], genes, _kind(source.column), notes)


def _kind(column: str) -> str | None:
    if "tpm" in column:
        return "tpm"
    if "fpkm" in column:
        return "fpkm"
    return "counts" if column in {"unstranded", "stranded_first", "stranded_second"} else None


def _find_sheet(root: Path) -> Path | None:
    """A sample sheet as the portal names it, in the folder or the one above."""
    for folder in (root, root.parent):
        found = sorted(folder.glob("gdc_sample_sheet*.tsv"))
        if found:
            return found[-1]
    return None


def _sample_of(file: Path, root: Path, select: SampleSelector) -> tuple[str, str]:
    """Return the key under which the selector knows a file's sample, and where it was found."""
    plain = file.name.removesuffix(".gz")
    for key in (file.name, plain, plain + ".gz", file.parent.name):
        if key in select.sheet:
            return key, "sample sheet"
    for name in (file.name, file.parent.name):
        if parse(name):
            return name, "barcode in its name"
    folder = file.parent != root and root.is_dir()
    return (file.parent.name if folder else plain.split(".")[0]), "its own name"


def _read_file(file: Path, column: str) -> tuple[pd.DataFrame, str]:
    """Return the genes of one file (columns id, symbol, gene_type, value) and its gene model."""
    header = read_header(file, rows=8)
    for needed in ("gene_id", column):
        if needed not in header.columns:
            raise missing_column(needed, header.columns, file, "column" if needed == column else None)
    text = [name for name in ("gene_id", "gene_name", "gene_type") if name in header.columns]
    try:
        with open_binary(file, table_limit()) as stream:
            table = pv.read_csv(
                stream,
                read_options=pv.ReadOptions(use_threads=False, skip_rows=header.skip, column_names=header.columns),
                parse_options=pv.ParseOptions(delimiter=header.delimiter),
                convert_options=pv.ConvertOptions(
                    include_columns=[*text, column],
                    column_types={**dict.fromkeys(text, pa.string()), column: pa.float32()},
                    strings_can_be_null=False,
                ),
            ).to_pandas()
            if not ends_in_a_line(stream):
                raise InputError(
                    f"ends in the middle of a line (gene {table['gene_id'].iloc[-1]}): the download broke off",
                    file=file,
                    remedy="download it again",
                )
    except pa.ArrowInvalid as error:
        raise InputError(
            f"cannot be read: {str(error).splitlines()[0]}", file=file, remedy="download it again"
        ) from error
    table = table[~table["gene_id"].str.startswith(_SUMMARY)].reset_index(drop=True)
    table = table.rename(columns={"gene_id": "id", "gene_name": "symbol", column: "value"})
    for name in ("symbol", "gene_type"):
        if name not in table:
            table[name] = ""
    model = next((line.lstrip("# ").strip() for line in header.comments if "gene-model" in line), "unknown")
    return table, model.removeprefix("gene-model:").strip()


def _refuse_broken(
    rows: list[np.ndarray], others: dict[int, pd.Series], genes: pd.Series, files: list[Path], chosen: np.ndarray
) -> None:
    """Refuse files that broke off: their genes are the first of another file's, or less than half of the usual.

    STAR writes the genes of its model in one order. A file that has the first k genes of a longer one, in that
    order, was cut between two lines; its other genes would be missing for every sample.

    Parameters
    ----------
    rows : list of array
        Values of the files that have the genes of the first file; empty for those in ``others``.
    others : dict of int to Series
        Values by gene of the other files, in the file's order.
    genes : Series
        The first file's genes, then those that only other files have.
    files, chosen
        All files, and the positions of those that were read.

    Raises
    ------
    InputError
        Naming the first such file and how many there are.
    """
    if not others:
        return
    first = next(len(row) for number, row in enumerate(rows) if number not in others)
    orders: dict[int, np.ndarray] = {number: series.index.to_numpy(str) for number, series in others.items()}
    base = genes.to_numpy(str)[:first]
    # One representative of each distinct order: many files of one model are compared once.
    kinds: dict[tuple[int, str], np.ndarray] = {(len(base), str(base[-1]) if len(base) else ""): base}
    for order in orders.values():
        kinds.setdefault((len(order), str(order[-1]) if len(order) else ""), order)
    cut = []
    for number in range(len(rows)):
        order = orders.get(number, base)
        longer = [kind for kind in kinds.values() if len(kind) > len(order)]
        if max(map(len, longer), default=0) >= _SOME and any(
            np.array_equal(kind[: len(order)], order) for kind in longer
        ):
            cut.append((number, len(order), max(map(len, longer))))
    if cut:
        number, size, whole = cut[0]
        more = f"; {len(cut)} files are so" if len(cut) > 1 else ""
        raise InputError(
            f"has {size} genes where the others have {whole}, and they are the first {size} of theirs: the download "
            f"broke off{more}",
            file=files[chosen[number]],
            remedy="download it again, or remove it to leave its sample out",
        )
    sizes = [len(orders[number]) if number in orders else first for number in range(len(rows))]
    usual = float(np.median(sizes))
    if usual < 1000:
        return
    for number, size in enumerate(sizes):
        if size < usual / 2:
            raise InputError(
                f"has {size} genes where the others have {usual:.0f}: the download broke off",
                file=files[chosen[number]],
                remedy="download it again",
            )
