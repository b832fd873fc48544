"""AnnData files: only the cohort's rows leave the disk."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from ...config.sources import ExpressionSource
from ...core.errors import InputError
from ..tables import container
from .base import RawMatrix
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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # repeated names are our own policy's matter
            adata = ad.read_h5ad(path, backed="r")
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"cannot be read as AnnData ({str(error).splitlines()[0]})", file=path) from error
    try:
        if source.layer and source.layer not in adata.layers:
            names = ", ".join(adata.layers) or "none"
            raise InputError(f"has no layer {source.layer!r} (it has: {names})", file=path)
        names = [str(name) for name in adata.var_names[:2000]]
        ids, used = _identifiers(adata, select.knows)
        if sample_share(names, select.knows) > max(0.3, sample_share(ids[:2000], select.knows)):
            raise InputError(
                f"has samples in var ({', '.join(names[:2])}) and genes in obs: it lies on its side",
                file=path,
                remedy="save its transpose (`adata.T`)",
            )
        chosen = select(ids)
        select.require(len(chosen), path)
        values = np.empty((len(chosen), adata.n_vars), np.float32)
        for start in range(0, len(chosen), _ROWS):
            rows = chosen[start : start + _ROWS]
            block = adata.layers[source.layer][rows] if source.layer else adata.X[rows]
            values[start : start + _ROWS] = block.toarray() if sparse.issparse(block) else np.asarray(block)
        genes = pd.DataFrame({"id": adata.var_names.astype(str)})
        for role, usual in _VAR.items():
            found = next((name for name in usual if name in adata.var), None)
            if found:
                genes[role] = adata.var[found].astype(str).to_numpy()
    finally:
        adata.file.close()
    notes = {"layer": source.layer or "X", "identifiers": used}
    return RawMatrix(values, [ids[i] for i in chosen], genes, None, notes)


def _identifiers(adata: ad.AnnData, known: Known) -> tuple[list[str], str]:
    """Identifiers of the observations, and where they stand: a sample or patient column, or the names."""
    columns = [column for names in (SAMPLE_ID_NAMES, PATIENT_ID_NAMES) for column in adata.obs
               if str(column).strip().lower() in names]  # fmt: skip
    found = [(str(column), adata.obs[column].astype(str).tolist()) for column in columns]
    found.append(("obs_names", [str(name) for name in adata.obs_names]))
    name, ids = found[best_identifiers(found, known)]
    return ids, name
