"""Pool cohorts for joint (pan-cancer) pre-training."""

from __future__ import annotations

from typing import Literal

import anndata
import pandas as pd

from ..io.errors import InputError


def pool_tables(tables: dict[str, pd.DataFrame], key: str, what: str) -> pd.DataFrame:
    """Stack the members' tables with a ``cohort`` column; ``key`` must stay unique.

    Raises
    ------
    InputError
        The same patient or slide in two members.
    """
    pooled = pd.concat([t.assign(cohort=name) for name, t in tables.items()], ignore_index=True)
    twice = pooled.loc[pooled[key].duplicated(keep=False)].sort_values(key)
    if len(twice):
        first = twice.iloc[0]
        cohorts = " and ".join(twice.loc[twice[key] == first[key], "cohort"].unique())
        raise InputError(
            f"{twice[key].nunique()} {what} are in more than one cohort; the first is {first[key]} in {cohorts}",
            remedy="give every patient to one cohort",
        )
    return pooled.sort_values(key, ignore_index=True)


def pool_expression(
    members: dict[str, anndata.AnnData], genes: Literal["intersection", "union"]
) -> anndata.AnnData:
    """Stack expression over patients.

    Parameters
    ----------
    members : dict
        Cohort name to normalised AnnData (patients x genes).
    genes : {"intersection", "union"}
        Which genes remain. Under ``union`` a gene that a member does not have is missing there
        (NaN) and is later filled with the training patients' median.

    Raises
    ------
    InputError
        No gene in common.
    """
    pooled = anndata.concat(
        members, join="inner" if genes == "intersection" else "outer", label="cohort", fill_value=float("nan")
    )
    if not pooled.n_vars:
        raise InputError(
            f"the cohorts {', '.join(members)} have no gene in common",
            remedy="use the same identifiers (symbols or Ensembl) in every cohort, or joint_genes: union",
        )
    return pooled
