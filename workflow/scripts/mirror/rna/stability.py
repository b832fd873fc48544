"""How often each gene is chosen over folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..core.errors import InputError

COLUMNS = ["gene", "chosen", "folds", "share", "by_method", "in_list", "mean_rank", "leaks"]


def selection_stability(tables: Sequence[str | Path], n_candidates: int | None = None) -> pd.DataFrame:
    """Count each gene over the folds' gene tables.

    Parameters
    ----------
    tables : sequence of path-like
        ``genes_{fold}.tsv`` of one cohort and split scheme.
    n_candidates : int, optional
        Genes that could have been chosen, for the stability index; by default the union chosen,
        which makes the index a lower bound.

    Returns
    -------
    DataFrame
        One row per gene, most often chosen first: ``gene``; ``chosen``, the folds that keep it, of
        ``folds``, and their ``share``; ``by_method``, the folds whose method chose it; ``in_list``,
        whether the user's list names it; ``mean_rank`` where ranked; ``leaks``. ``attrs`` holds
        ``folds``, ``union`` and ``intersection`` (genes), ``mean_genes`` a fold, ``list_share``
        (the share of the union that only the list brings in) and ``stability`` of the method's
        choices: 1 is the same genes in every fold, 0 as if drawn at random [1]_; NaN for one fold
        or where the method chose none or all.

    Raises
    ------
    InputError
        No table, a table without the columns, a gene twice in a table.

    References
    ----------
    .. [1] Nogueira, Sechidis, Brown, On the stability of feature selection algorithms, JMLR 18, 2018.
    """
    if not tables:
        raise InputError("no gene table to count over")
    parts = []
    for path in tables:
        part = pd.read_csv(path, sep="\t", dtype={"gene": str, "reason": str}, keep_default_na=False, na_values=[""])
        missing = {"gene", "reason", "rank", "leaks"} - set(part.columns)
        if missing:
            raise InputError(f"the gene table has no column {sorted(missing)[0]}", file=path)
        if part["gene"].duplicated().any():
            raise InputError(
                "a gene twice in one table", file=path, row=part.loc[part["gene"].duplicated(), "gene"].iloc[0]
            )
        parts.append(part[["gene", "reason", "rank", "leaks"]])
    everything = pd.concat(parts, ignore_index=True)
    everything["method"] = everything["reason"] != "list"
    everything["listed"] = everything["reason"].isin(["list", "both"])
    groups = everything.groupby("gene", sort=True)
    counted = pd.DataFrame(
        {
            "chosen": groups.size(),
            "folds": len(parts),
            "share": groups.size() / len(parts),
            "by_method": groups["method"].sum(),
            "in_list": groups["listed"].any(),
            "mean_rank": groups["rank"].mean(),
            "leaks": groups["leaks"].any(),
        }
    ).reset_index()
    counted = counted.sort_values(["chosen", "by_method", "gene"], ascending=[False, False, True], ignore_index=True)
    counted = counted[COLUMNS]
    counted.attrs.update(
        folds=len(parts),
        union=len(counted),
        intersection=int((counted["chosen"] == len(parts)).sum()),
        mean_genes=float(np.mean([len(part) for part in parts])),
        list_share=float((counted["by_method"] == 0).mean()) if len(counted) else float("nan"),
        stability=_nogueira(counted["by_method"].to_numpy(), len(parts), n_candidates or len(counted)),
    )
    return counted


def _nogueira(times: np.ndarray, folds: int, n_candidates: int) -> float:
    """Stability of a selection from how often each gene was chosen (genes never chosen may be left out)."""
    mean_genes = times.sum() / folds
    if folds < 2 or mean_genes in (0, n_candidates):
        return float("nan")
    share = times / folds
    variance = (folds / (folds - 1) * share * (1 - share)).sum() / n_candidates
    chance = mean_genes / n_candidates
    return float(1 - variance / (chance * (1 - chance)))
