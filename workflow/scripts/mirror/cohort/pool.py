"""Pool cohorts for joint (pan-cancer) pre-training."""

from __future__ import annotations

import itertools
import json
import logging
from functools import reduce
from typing import Literal

import anndata
import pandas as pd

from ..core.cut_short import ends_early
from ..core.errors import InputError

log = logging.getLogger("mirror")


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


def pool_expression(members: dict[str, anndata.AnnData], genes: Literal["intersection", "union"]) -> anndata.AnnData:
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
    for name, other in itertools.permutations(members, 2):
        last = ends_early(members[name].var_names, list(members[other].var_names))
        if last:
            log.warning(
                "%s: its genes are those of %s up to %s, and the %d behind it are missing: the file may be cut",
                name,
                other,
                last,
                len(set(members[other].var_names) - set(members[name].var_names)),
            )
    pooled = anndata.concat(
        members,
        join="inner" if genes == "intersection" else "outer",
        label="cohort",
        fill_value=float("nan"),
    )
    if not pooled.n_vars:
        raise InputError(
            f"the cohorts {', '.join(members)} have no gene in common",
            remedy="use the same identifiers (symbols or Ensembl) in every cohort, or joint_genes: union",
        )
    # Symbols and other facts of a gene, from the first member that has them (concat keeps none of a union).
    known = reduce(pd.DataFrame.combine_first, (member.var for member in members.values()))
    pooled.var = known.reindex(pooled.var_names)
    facts = {name: json.loads(str(member.uns.get("mirror", "{}"))) for name, member in members.items()}
    note: dict[str, object] = {"pooled": list(members), "joint_genes": genes, "genes": pooled.n_vars}
    for key in ("values", "normalized"):
        found = [_kind(fact.get(key)) for fact in facts.values()]
        if found[0] and all(kind == found[0] for kind in found):
            note[key] = facts[next(iter(facts))][key]
        elif key == "values":
            kinds = ", ".join(f"{name}: {kind}" for name, kind in zip(facts, found, strict=True))
            log.warning("The pooled cohorts hold different kinds of values (%s); their scales may differ", kinds)
    pooled.uns["mirror"] = json.dumps(note, sort_keys=True)
    return pooled


def _kind(value: object) -> object:
    """What decides whether members agree: the kind of values, the scale after normalising."""
    return value.get("kind", value.get("scale")) if isinstance(value, dict) else value
