"""AnnData files: only the cohort's rows leave the disk."""

from __future__ import annotations

import warnings
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, sparse_dataset
from scipy import sparse

from ...config.sources import ExpressionSource
from ...core.errors import InputError
from ...core.memory import fits
from ...io.hdf5 import claimed, open_h5
from ..opening import container
from .base import RawMatrix
from .blocks import choose_block
from .orientation import PATIENT_ID_NAMES, SAMPLE_ID_NAMES, Known, best_identifiers, sample_share
from .samples import SampleSelector

_ROWS = 256
_VAR = {"symbol": ("symbol", "gene_name", "gene_symbols", "gene_symbol"), "gene_type": ("gene_type", "gene_biotype")}


def read(source: ExpressionSource, select: SampleSelector) -> RawMatrix:
    """Read ``X`` or a layer; identifiers are ``obs``'s sample or patient column, or the observation names.

    Raises
    ------
    InputError
        When the file is no AnnData, lacks the layer, or no sample belongs to the cohort.
    """
    path = source.path
    if container(path) != "hdf5":
        raise InputError("is no HDF5 file", file=path, remedy="set `format: auto`")
    with open_h5(path, "expression") as file:
        obs, var, data = _parts(file, source)
        names = [str(name) for name in var.index[:2000]]
        ids, used = _identifiers(obs, select.knows)
        if sample_share(names, select.knows) > max(0.3, sample_share(ids[:2000], select.knows)):
            raise InputError(
                f"has samples in var ({', '.join(names[:2])}) and genes in obs: it is transposed",
                file=path,
                remedy="save its transpose (`adata.T`)",
            )
        notes: dict[str, Any] = {}
        ids, places = choose_block(ids, list(range(len(ids))), source, select.knows, notes)
        chosen = select(ids)
        select.require(len(chosen), path)
        fits(4 * len(chosen) * len(var), path, f"a matrix of {len(chosen)} samples and {len(var)} genes", 0.5)
        values = np.empty((len(chosen), len(var)), np.float32)
        wanted = np.asarray(places, np.int64)[chosen]
        try:
            for start in range(0, len(wanted), _ROWS):
                block = data[wanted[start : start + _ROWS]]
                values[start : start + _ROWS] = block.toarray() if sparse.issparse(block) else np.asarray(block)
        except (OSError, ValueError, IndexError, TypeError) as error:
            raise InputError(f"its matrix cannot be read ({_first_line(error)})", file=path) from error
        genes = pd.DataFrame({"id": var.index.astype(str)})
        for role, usual in _VAR.items():
            found = next((name for name in usual if name in var), None)
            if found:
                genes[role] = var[found].astype(str).to_numpy()
    notes |= {"layer": source.layer or "X", "identifiers": used}
    return RawMatrix(values, [ids[i] for i in chosen], genes, None, notes)


def _parts(file: h5py.File, source: ExpressionSource) -> tuple[pd.DataFrame, pd.DataFrame, Any]:
    """Return obs, var and the matrix (left on disk) of an open AnnData file; nothing else of it is read."""
    path = source.path
    asked = claimed(file, path, lambda name: not name.startswith(("/obs", "/var")))
    fits(asked, path, "obs and var", 0.3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # repeated names are our own policy's matter
            obs, var = _frame(file["obs"]), _frame(file["var"])
    except Exception as error:  # anndata has errors of its own for what it does not know
        raise InputError(f"cannot be read as AnnData ({_first_line(error)})", file=path) from error
    layers = list(file["layers"]) if "layers" in file else []
    if source.layer and source.layer not in layers:
        raise InputError(f"has no layer {source.layer!r} (it has: {', '.join(layers) or 'none'})", file=path)
    place = f"layers/{source.layer}" if source.layer else "X"
    if place not in file:
        raise InputError(
            f"has no matrix X (layers: {', '.join(layers) or 'none'})", file=path, remedy="name one with `layer`"
        )
    item = file[place]
    try:
        data = item if isinstance(item, h5py.Dataset) else sparse_dataset(item)
        shape = tuple(data.shape)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"cannot be read as AnnData ({_first_line(error)})", file=path) from error
    if shape != (len(obs), len(var)):
        raise InputError(f"its matrix is {shape}, obs and var say {(len(obs), len(var))}", file=path)
    stored = item if isinstance(item, h5py.Dataset) else item.get("data")
    if stored is not None and stored.size and stored.id.get_storage_size() == 0:
        raise InputError("its matrix holds no bytes: its writer never filled it", file=path, remedy="write it again")
    return obs, var, data


def _frame(item: h5py.Group | h5py.Dataset) -> pd.DataFrame:
    """Read obs or var; files before AnnData 0.7 hold them as one compound dataset."""
    if isinstance(item, h5py.Dataset):
        table = pd.DataFrame(item[()])
        for column in table.select_dtypes(object):
            table[column] = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in table[column]]
        return table.set_index("index" if "index" in table else table.columns[0])
    frame = read_elem(item)
    if not isinstance(frame, pd.DataFrame):
        raise ValueError("obs or var is no data frame")
    return frame


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _identifiers(obs: pd.DataFrame, known: Known) -> tuple[list[str], str]:
    """Identifiers of the observations, and where they stand: a sample or patient column, or the names."""
    columns = [column for names in (SAMPLE_ID_NAMES, PATIENT_ID_NAMES) for column in obs
               if str(column).strip().lower() in names]  # fmt: skip
    found = [(str(column), obs[column].astype(str).tolist()) for column in columns]
    found.append(("obs_names", [str(name) for name in obs.index]))
    name, ids = found[best_identifiers(found, known)]
    return ids, name
