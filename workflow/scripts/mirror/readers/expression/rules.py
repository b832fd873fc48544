"""Rules for missing cells, constant genes and extreme z-scores; each counts what it did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...core.errors import InputError


def apply_value_rules(
    values: np.ndarray,
    genes: pd.DataFrame,
    kind: str,
    missing: str,
    constant: str,
    extreme: str,
    extreme_z: float,
    file: str,
) -> tuple[np.ndarray, pd.DataFrame, dict[str, Any]]:
    """Apply the rules for missing cells, constant genes and extreme z-scores; count what each did.

    Nothing is ever set to 0.

    Parameters
    ----------
    values : numpy.ndarray
        float32 (patients, genes); changed in place where values are clipped.
    genes : pandas.DataFrame
        One row per gene, column ``id``.
    kind : str
        What the values are.
    missing : {"error", "drop_gene", "median"}
        ``median`` leaves NaN, for each fold to fill with its training patients' median.
    constant : {"keep", "drop"}
        Genes with one value in all patients.
    extreme : {"clip", "keep", "drop_gene", "error"}
        z-scores beyond ``extreme_z`` in size. Other kinds have no such bound and are left alone.
    extreme_z : float
        The bound, in standard deviations.
    file : str
        Named in errors.
    """
    names = genes["id"].to_numpy()
    infinite = int(np.isinf(values).sum())
    if infinite:
        values[np.isinf(values)] = np.nan  # log2(0) without an offset: there is no number, so it is missing
    gap = np.isnan(values)
    per_gene = gap.sum(axis=0)
    report: dict[str, Any] = {
        "missing": {
            "policy": missing,
            "cells": int(per_gene.sum()),
            "infinite_cells": infinite,
            "genes": int((per_gene > 0).sum()),
            "genes_dropped": 0,
            "examples": [str(name) for name in names[per_gene > 0][:20]],
        }
    }
    if per_gene.any():
        if missing == "error":
            raise InputError(
                f"{int(per_gene.sum())} values are missing in {int((per_gene > 0).sum())} genes "
                f"({', '.join(map(str, names[per_gene > 0][:5]))})",
                file=file,
                remedy="set `missing` to drop_gene or median, or fill the file",
            )
        drop = per_gene > 0 if missing == "drop_gene" else per_gene == len(values)
        if drop.all():
            worst = int(gap.sum(axis=1).argmax())
            raise InputError(
                "every gene has missing values",
                file=file,
                row=f"sample row {worst} has most",
                remedy="`missing: median`",
            )
        report["missing"]["genes_dropped"] = int(drop.sum())
        if drop.any():
            values, genes, names = values[:, ~drop], genes[~drop].reset_index(drop=True), names[~drop]
    del gap

    flat = np.nanmax(values, axis=0) == np.nanmin(values, axis=0) if len(values) > 1 else np.zeros(len(names), bool)
    report["constant"] = {
        "policy": constant,
        "genes": int(flat.sum()),
        "examples": [str(name) for name in names[flat][:20]],
    }
    if constant == "drop" and flat.any():
        values, genes, names = values[:, ~flat], genes[~flat].reset_index(drop=True), names[~flat]
    if kind == "zscore":
        values, genes, report["extreme"] = _extremes(values, genes, names, extreme, extreme_z, file)
    if values.shape[1] == 0:
        raise InputError("no gene is left after the rules for missing, constant and extreme values", file=file)
    return values, genes, report


def _extremes(
    values: np.ndarray, genes: pd.DataFrame, names: np.ndarray, policy: str, bound: float, file: str
) -> tuple[np.ndarray, pd.DataFrame, dict[str, Any]]:
    size = np.fmax(np.nanmax(values, axis=0), -np.nanmin(values, axis=0))
    beyond = size > bound
    cells = int((np.abs(values[:, beyond]) > bound).sum())
    worst = np.argsort(-size)[:5]
    report = {
        "policy": policy,
        "bound": bound,
        "cells": cells,
        "genes": int(beyond.sum()),
        "largest": float(size.max()),
        "worst": {str(names[g]): float(size[g]) for g in worst if beyond[g]},
    }
    if not cells or policy == "keep":
        return values, genes, report
    if policy == "error":
        raise InputError(
            f"{cells} z-scores in {int(beyond.sum())} genes are beyond {bound:g} (largest {size.max():.6g}, "
            f"{names[worst[0]]})",
            file=file,
            remedy="set `extreme` to clip, keep or drop_gene",
        )
    if policy == "drop_gene":
        return values[:, ~beyond], genes[~beyond].reset_index(drop=True), report
    np.clip(values, -bound, bound, out=values)
    return values, genes, report
